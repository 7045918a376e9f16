"""A face for a realtime voice: the bridge between OpenAI's realtime API and an avatar.

    rollcast serve --no-open
    export OPENAI_API_KEY=...
    arecord -q -t raw -f S16_LE -r 24000 -c 1 | python examples/openai_realtime.py

It prints an address at which the avatar is seen and heard. The voice's deltas are fed as they come;
when you begin to speak the avatar falls silent, and the conversation is cut where it was heard. Any
service with the same events does: `--realtime wss://...`.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import numpy as np
from websockets.asyncio.client import connect as open_socket

from rollcast.client import Disconnected, Refused, Stream, connect
from rollcast.client.talker import Talker, Utterance

RATE = 24_000
"""The only one that the API has."""
SERVICE = "wss://api.openai.com/v1/realtime?model=gpt-realtime"
SESSION = {
    "type": "session.update",
    "session": {
        "type": "realtime",
        "output_modalities": ["audio"],
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": RATE},
                "turn_detection": {"type": "server_vad"},
            },
            "output": {"format": {"type": "audio/pcm", "rate": RATE}},
        },
    },
}


class Bridge:
    """Takes the service's events, one after the other, and answers those that want it."""

    def __init__(self, stream: Stream, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
        self.talker = Talker(stream)
        self._send = send
        self._items: dict[str, Utterance] = {}
        self._cut: set[str] = set()

    async def take(self, event: dict[str, Any]) -> None:
        """Act on one event; most of them are not ours."""
        item_id = event.get("item_id", "")
        match event.get("type"):
            case "response.output_audio.delta" if item_id not in self._cut:
                if item_id not in self._items:
                    self._items[item_id] = self.talker.begin(RATE)
                samples = np.frombuffer(base64.b64decode(event["delta"]), "<i2")
                self._items[item_id].write(samples.astype(np.int16))
            case "response.output_audio.done" if item_id in self._items:
                self._items[item_id].end()
            case "input_audio_buffer.speech_started":
                await self._interrupt()
            case "error":
                print(f"the service says: {event.get('error')}", file=sys.stderr)

    async def _interrupt(self) -> None:
        """Silence the avatar, and tell the service how much of each answer was heard."""
        await self.talker.interrupt()
        items, self._items = self._items, {}
        for item_id, utterance in items.items():
            spoken = await utterance.over
            if spoken.is_cut:
                self._cut.add(item_id)
                await self._send(
                    {
                        "type": "conversation.item.truncate",
                        "item_id": item_id,
                        "content_index": 0,
                        # never more than there is: that would be an error
                        "audio_end_ms": int(spoken.played_ms),
                    }
                )


async def microphone() -> AsyncIterator[bytes]:
    """What is piped in, 40 ms at a time, as it is spoken."""
    while data := await asyncio.to_thread(sys.stdin.buffer.read, RATE * 2 // 25):
        yield data


async def play(stream: Stream) -> None:
    """Let media time run for those who watch."""
    with suppress(Disconnected, Refused):
        async for _ in stream:
            pass


async def talk(url: str, service: str, key: str, sound: AsyncIterator[bytes]) -> None:
    """Connect both, until the service hangs up."""
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        open_socket(service, additional_headers=headers, max_size=None) as socket,
        connect(url, audio_rate=RATE, decode=False) as stream,
    ):

        async def send(event: dict[str, Any]) -> None:
            await socket.send(json.dumps(event))

        async def listen() -> None:
            async for data in sound:
                audio = base64.b64encode(data).decode()
                await send({"type": "input_audio_buffer.append", "audio": audio})

        bridge = Bridge(stream, send)
        await send(SESSION)
        print(f"see and hear the avatar at {await stream.share()}", flush=True)
        tasks = [
            asyncio.create_task(each) for each in (bridge.talker.run(), listen(), play(stream))
        ]
        try:
            async for text in socket:
                await bridge.take(json.loads(text))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description="A face for a realtime voice.")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="the Rollcast server")
    parser.add_argument("--realtime", default=SERVICE, help="the voice's WebSocket")
    given = parser.parse_args()
    key = os.environ.get("OPENAI_API_KEY", "")
    asyncio.run(talk(given.url, given.realtime, key, microphone()))


if __name__ == "__main__":
    main()
