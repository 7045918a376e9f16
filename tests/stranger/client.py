"""A client written from docs/protocol.md alone: it knows nothing of Rollcast but that document."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_websocket

HEADER = struct.Struct("<BBHIdIId")
KEY, DISCONTINUITY, LAST = 1, 2, 4
VIDEO, SOUND, SPEECH, FILM = 1, 2, 16, 17
PATIENCE_S = 25.0

Message = dict[str, Any]


@dataclass(frozen=True)
class Packet:
    """A binary message, taken apart as section 4 says."""

    version: int
    kind: int
    flags: int
    seq: int
    pts_us: float
    chunk: int
    generation: int
    server_ms: float
    payload: bytes


def packet_of(data: bytes) -> Packet:
    version, kind, flags, seq, pts_us, chunk, generation, server_ms = HEADER.unpack_from(data)
    return Packet(version, kind, flags, seq, pts_us, chunk, generation, server_ms, data[32:])


def speech(samples: bytes, seq: int = 0, **header: float) -> bytes:
    """A packet of the client's audio; `header` puts something false into it."""
    values = {
        **{"version": 1, "kind": SPEECH, "flags": 0, "seq": seq, "pts_us": 20_000.0 * seq},
        **{"chunk": 0, "generation": 0, "server_ms": 0.0},
        **header,
    }
    return HEADER.pack(*values.values()) + samples


def film(jpeg: bytes, seq: int) -> bytes:
    """A packet of the client's video, 16 frames a second."""
    return HEADER.pack(1, FILM, 0, seq, seq * 62_500.0, 0, 0, 0.0) + jpeg


@dataclass
class Client:
    """One WebSocket: what came, in order, and a viewer that plays in real time and acks."""

    socket: ClientConnection
    messages: list[Message] = field(default_factory=list)
    packets: list[Packet] = field(default_factory=list)
    order: list[Message | Packet] = field(default_factory=list)
    closed: tuple[int | None, str] | None = None
    began_s: float | None = None
    began_us: float = 0.0
    fps: int = 25
    news: asyncio.Event = field(default_factory=asyncio.Event)
    ids: int = 0
    ready: Message = field(default_factory=dict)
    hello: Message = field(default_factory=dict)

    async def send(self, message: Message | str | bytes) -> None:
        await self.socket.send(json.dumps(message) if isinstance(message, dict) else message)

    async def say(self, kind: str, **fields: Any) -> None:
        await self.send({"type": kind, **fields})

    async def control(self, kind: str, **fields: Any) -> Message:
        """Send a control, and wait for its one answer."""
        self.ids += 1
        event_id = f"{kind}-{self.ids}"
        await self.say(kind, event_id=event_id, **fields)
        return await self.answer(event_id)

    async def answer(self, event_id: str) -> Message:
        return await self.message(lambda each: each.get("event_id") == event_id)

    async def reply(self, message: Message | str | bytes) -> Message:
        """Send, and return the next message that is no report."""
        seen = len(self.messages)
        await self.send(message)
        reports = ("state", "stats")
        return await self.message(lambda each: each["type"] not in reports, after=seen)

    async def message(self, match: Callable[[Message], bool], after: int = 0) -> Message:
        def found() -> list[Message]:
            return [each for each in self.messages[after:] if match(each)]

        await self.until(lambda: bool(found()))
        return found()[0]

    async def type(self, kind: str, after: int = 0) -> Message:
        return await self.message(lambda each: each["type"] == kind, after)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self.news.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.news.wait(), 0.05)

    async def until_closed(self) -> tuple[int | None, str]:
        await self.until(lambda: self.closed is not None)
        assert self.closed is not None
        return self.closed

    async def play(self, seconds: float) -> None:
        until_us = self.playhead_us + seconds * 1e6
        await self.until(lambda: self.playhead_us >= until_us)

    async def greet(self, **fields: Any) -> Message:
        return await self.reply({"type": "hello", "versions": [1], "codecs": ["jpeg"], **fields})

    async def create(self, **fields: Any) -> Message:
        return await self.reply({"type": "session.create", **fields})

    def video(self) -> list[Packet]:
        return [packet for packet in self.packets if packet.kind == VIDEO]

    def sound(self) -> list[Packet]:
        return [packet for packet in self.packets if packet.kind == SOUND]

    @property
    def frame_us(self) -> float:
        return 1e6 / self.fps

    @property
    def playhead_us(self) -> float:
        """Real time since the first frame, up to the end of what has come."""
        if self.began_s is None:
            return self.began_us
        run_us = self.began_us + (time.monotonic() - self.began_s) * 1e6
        end_us = max(packet.pts_us for packet in self.video()) + self.frame_us
        if run_us > end_us:
            self.began_s, self.began_us = time.monotonic(), end_us
        return min(run_us, end_us)

    @property
    def drawn(self) -> int:
        shown = [each.seq for each in self.video() if each.pts_us <= self.playhead_us]
        return max(shown, default=-1)

    async def read(self) -> None:
        with contextlib.suppress(Exception):
            async for data in self.socket:
                if isinstance(data, str):
                    self.messages.append(json.loads(data))
                    self.order.append(self.messages[-1])
                else:
                    self.take(packet_of(data))
                self.news.set()
        self.closed = (self.socket.close_code, self.socket.close_reason or "")
        self.news.set()

    def take(self, packet: Packet) -> None:
        self.packets.append(packet)
        self.order.append(packet)
        if packet.kind == VIDEO and self.began_s is None:
            self.began_s, self.began_us = time.monotonic(), packet.pts_us

    async def acknowledge(self) -> None:
        with contextlib.suppress(Exception):
            while True:
                await self.say("ack", playhead_us=self.playhead_us, last_seq=self.drawn)
                await asyncio.sleep(0.04)


@asynccontextmanager
async def connected(url: str, **options: Any) -> AsyncIterator[Client]:
    """A socket on which nothing was said."""
    async with open_websocket(url, max_size=None, compression=None, **options) as socket:
        client = Client(socket)
        reading = asyncio.create_task(client.read())
        try:
            yield client
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


@asynccontextmanager
async def watching(
    url: str, *, acks: bool = True, hello: Message | None = None, **create: Any
) -> AsyncIterator[Client]:
    """A stream that is shown, and closed at the end."""
    async with connected(url) as client:
        client.hello = await client.greet(**(hello or {}))
        opening = create.pop("resume", None) or {"type": "session.create", **create}
        client.ready = await client.reply(opening)
        assert client.ready["type"] == "session.ready", client.ready
        client.fps = client.ready["fps"]
        acking = asyncio.create_task(client.acknowledge()) if acks else None
        try:
            yield client
        finally:
            if acking is not None:
                acking.cancel()
            if client.closed is None:
                with contextlib.suppress(Exception):
                    await client.say("session.close")
                    await client.until_closed()


def token(secret: str, claims: Message) -> str:
    """A token as section 14 describes it."""

    def text(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).decode().rstrip("=")

    signed = "rc1." + text(json.dumps(claims).encode())
    return signed + "." + text(hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest())
