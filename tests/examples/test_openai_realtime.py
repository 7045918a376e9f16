"""The bridge to a realtime voice, against events as the service sends them, over real sockets."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
from websockets.asyncio.server import ServerConnection, serve

from ..server.running import running, until
from .test_examples import load

RATE = 24_000
EVENTS = Path(__file__).parents[1] / "fixtures" / "realtime_events.jsonl"


class Service:
    """Plays a recorded stream of events; what they say of sound is made here."""

    def __init__(self) -> None:
        self.events = [json.loads(line) for line in EVENTS.read_text().splitlines()]
        self.got: list[dict[str, Any]] = []
        self.sent_ms: dict[str, float] = {}
        self.authorization: str | None = None

    async def serve(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        self.authorization = socket.request.headers.get("Authorization")
        listening = asyncio.create_task(self._listen(socket))
        try:
            for event in self.events:
                if event["type"] == "input_audio_buffer.speech_started":
                    await asyncio.sleep(1.2)  # in the middle of the answer
                    await until(lambda: bool(self.of("input_audio_buffer.append")))
                if event["type"] == "response.output_audio.delta":
                    event = {**event, "delta": self._delta(event)}
                await socket.send(json.dumps(event))
                if event["type"] == "response.output_audio.done":
                    await asyncio.sleep(0.1)
            await asyncio.sleep(1.5)
        finally:
            listening.cancel()

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.got if event["type"] == kind]

    async def _listen(self, socket: ServerConnection) -> None:
        async for text in socket:
            self.got.append(json.loads(text))

    def _delta(self, event: dict[str, Any]) -> str:
        milliseconds = int(event["delta"])
        self.sent_ms[event["item_id"]] = self.sent_ms.get(event["item_id"], 0) + milliseconds
        times = np.arange(RATE * milliseconds // 1000) / RATE
        tone = (9_000 * np.sin(2 * np.pi * 440 * times)).astype("<i2")
        return base64.b64encode(tone.tobytes()).decode()


async def hum() -> AsyncIterator[bytes]:
    """A microphone."""
    while True:
        yield bytes(RATE * 2 // 25)
        await asyncio.sleep(0.04)


async def test_an_answer_is_cut_where_it_was_heard() -> None:
    service = Service()
    async with running() as server, serve(service.serve, "127.0.0.1", 0) as listening:
        port = next(iter(listening.sockets)).getsockname()[1]
        talk = load("openai_realtime").talk
        await talk(server.http, f"ws://127.0.0.1:{port}", "a key", hum())
    assert service.authorization == "Bearer a key"
    (wanted,) = service.of("session.update")
    assert wanted["session"]["audio"]["output"]["format"] == {"type": "audio/pcm", "rate": RATE}
    # the first answer, which was cut, and not the second, which was heard to its end
    (cut,) = service.of("conversation.item.truncate")
    assert (cut["item_id"], cut["content_index"]) == ("item_answer", 0)
    assert 200 < cut["audio_end_ms"] < service.sent_ms["item_answer"] - 1_000
    assert isinstance(cut["audio_end_ms"], int)
