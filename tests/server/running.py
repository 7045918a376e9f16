"""A real server in the test's event loop, and a client that plays in real time or faster."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import av
import numpy as np
import simplejpeg
from websockets.asyncio.client import ClientConnection, connect

from rollcast.models.contract import Model
from rollcast.models.pipeline.backoff import Backoff
from rollcast.models.pipeline.sequential import Sequential
from rollcast.models.test_pattern import FPS, TestPattern
from rollcast.server.config import ServerConfig
from rollcast.server.engine.engine import Engine
from rollcast.server.engine.model_host import ModelHost
from rollcast.server.protocol.packets import Flags, Kind, Packet, encode_packet, parse_packet
from rollcast.server.secret import Secret
from rollcast.server.web.app import DrainingServer, build_server
from rollcast.server.web.connections import ConnectionLimits
from rollcast.server.web.failed_logins import GUESSES
from rollcast.server.web.pace import Allowance

# Far from what anything takes on an idle machine, and less than the time for which a server keeps a
# stream that was left: what is freed at once differs from what is freed then.
WAIT_S = 25.0
FRAME_US = 1_000_000 / FPS


@dataclass
class RunningServer:
    """A server that accepts connections on 127.0.0.1."""

    server: DrainingServer
    engine: Engine
    port: int
    tls: bool

    @property
    def http(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def ws(self) -> str:
        return f"{'wss' if self.tls else 'ws'}://127.0.0.1:{self.port}/v1/stream"

    async def ready(self) -> None:
        await until(lambda: self.engine.health != "loading")


@asynccontextmanager
async def running(
    load: Callable[[], Sequence[Model]] = lambda: [TestPattern()],
    wait_ready: bool = True,
    hosts: Sequence[ModelHost] | None = None,
    on_ready: Callable[[], None] | None = None,
    on_failed: Callable[[str], None] | None = None,
    limits: ConnectionLimits | None = None,
    guesses: Allowance = GUESSES,
    token: str | None = None,
    **settings: Any,
) -> AsyncIterator[RunningServer]:
    """Start a server, wait until it is ready, stop it at the end.

    Its models are those of `load`, each in the thread of its host, or those of `hosts`. Unless
    `max_waiting` is given, nobody waits for a place.
    """
    # without a line, so that the first answer is the stream or why there is none
    settings = {"drain_s": 0.0, "models": ("test-pattern",), "max_waiting": 0, **settings}
    # a busy machine must not change what a test is shown
    settings = {"keep_quality": True, **settings}
    if token is not None:
        settings["token"] = Secret(token)
    config = ServerConfig(port=0, **settings)
    hosts = hosts or in_threads(load, config.models)
    server = build_server(
        config, hosts, on_ready=on_ready, on_failed=on_failed, limits=limits, guesses=guesses
    )
    task = asyncio.create_task(server.serve())
    await until(lambda: server.started or task.done())
    port = server.servers[0].sockets[0].getsockname()[1]
    app: Any = server.config.app
    running_server = RunningServer(server, app.state.engine, port, server.config.is_ssl)
    try:
        if wait_ready:
            await running_server.ready()
        yield running_server
    finally:
        server.should_exit = True
        await asyncio.wait_for(task, WAIT_S)


def in_threads(load: Callable[[], Sequence[Model]], names: Sequence[str]) -> list[ModelHost]:
    """Hosts that run models in this process, loaded in the first one's thread."""
    loaded, backoff = cache(load), Backoff(first_s=60.0, most_s=60.0)
    return [
        ModelHost(name, lambda k=k: Sequential(loaded()[k]), backoff=backoff)
        for k, name in enumerate(names)
    ]


async def until(condition: Callable[[], bool], limit_s: float = WAIT_S) -> None:
    """Let the loop run until something is true."""
    async with asyncio.timeout(limit_s):
        while not condition():
            await asyncio.sleep(0.005)


async def settled(value: Callable[[], int], for_s: float = 0.4) -> int:
    """Let the loop run until a value has stayed the same for a while, and return it."""
    loop = asyncio.get_running_loop()
    seen, since_s = value(), loop.time()
    async with asyncio.timeout(WAIT_S):
        while loop.time() - since_s < for_s:
            await asyncio.sleep(0.02)
            if value() != seen:
                seen, since_s = value(), loop.time()
    return seen


@dataclass
class Viewer:
    """A client that decodes nothing unless asked, plays by its own clock and acks."""

    socket: ClientConnection
    ready: dict[str, Any]
    hello: dict[str, Any]
    messages: list[dict[str, Any]] = field(default_factory=list)
    packets: list[Packet] = field(default_factory=list)
    arrived_s: list[float] = field(default_factory=list)
    shown_seq: int = -1
    close_code: int | None = None
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    started_s: float | None = None
    start_us: float = 0.0
    playing: bool = True
    events: int = 0

    @property
    def video(self) -> list[Packet]:
        return [packet for packet in self.packets if packet.kind is Kind.VIDEO]

    @property
    def audio(self) -> list[Packet]:
        return [packet for packet in self.packets if packet.kind is Kind.AUDIO_OUT]

    @property
    def playhead_us(self) -> float:
        if self.started_s is None:
            return self.start_us
        elapsed_us = (asyncio.get_running_loop().time() - self.started_s) * 1e6
        newest = max((packet.pts_us for packet in self.video), default=0.0)
        return min(self.start_us + elapsed_us, newest + FRAME_US)

    @property
    def shown_chunk(self) -> int:
        return int(self.playhead_us // (4 * FRAME_US))

    async def say(self, type_: str, **fields: Any) -> None:
        await self.socket.send(json.dumps({"type": type_, **fields}))

    async def control(self, type_: str, **fields: Any) -> dict[str, Any]:
        """Send a control and wait for its answer."""
        self.events += 1
        event_id = f"e{self.events}"
        await self.say(type_, event_id=event_id, **fields)
        return await self.wait_message(lambda message: message.get("event_id") == event_id)

    async def speak(self, samples: np.ndarray, piece: int = 320) -> None:
        for number, start in enumerate(range(0, len(samples), piece)):
            payload = samples[start : start + piece].astype("<i2").tobytes()
            await self.socket.send(
                encode_packet(Packet(Kind.AUDIO_IN, Flags.NONE, number, 0, 0, 0, 0, payload))
            )

    async def wait_message(self, match: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        await self.wait(lambda: any(match(message) for message in self.messages))
        return next(message for message in self.messages if match(message))

    async def wait_state(self, **fields: Any) -> dict[str, Any]:
        """Wait for a new state message with these fields."""
        seen = len(self.messages)

        def match() -> list[dict[str, Any]]:
            return [
                message
                for message in self.messages[seen:]
                if message["type"] == "state" and fields.items() <= message.items()
            ]

        await self.wait(lambda: bool(match()))
        return match()[0]

    async def wait_frames(self, count: int) -> None:
        """Wait for this many video packets in all."""
        await self.wait(lambda: len(self.video) >= count)

    async def wait_chunk(self, chunk: int) -> None:
        await self.wait(lambda: any(packet.chunk >= chunk for packet in self.video))

    async def wait_closed(self) -> int:
        await self.wait(lambda: self.close_code is not None)
        assert self.close_code is not None
        return self.close_code

    async def wait(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def stop_acks(self) -> None:
        self.playing = False

    async def leave(self) -> None:
        """Close the socket without a word."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.socket.close()

    def frames(self) -> dict[int, np.ndarray]:
        """Decoded pictures by seq."""
        return decode(self.ready["codec"], self.video)

    async def _read(self) -> None:
        try:
            async for data in self.socket:
                if isinstance(data, str):
                    self.messages.append(json.loads(data))
                else:
                    self._take(parse_packet(data))
                self.changed.set()
        finally:
            self.close_code = self.socket.close_code
            self.changed.set()

    def _take(self, packet: Packet) -> None:
        now_s = asyncio.get_running_loop().time()
        self.packets.append(packet)
        self.arrived_s.append(now_s)
        if packet.kind is Kind.VIDEO and self.started_s is None:
            self.started_s, self.start_us = now_s, packet.pts_us

    async def _ack(self) -> None:
        while True:
            await asyncio.sleep(0.04)
            shown = [packet.seq for packet in self.video if packet.pts_us <= self.playhead_us]
            self.shown_seq = max(shown, default=self.shown_seq)
            if self.playing and self.close_code is None:
                await self.say("ack", playhead_us=self.playhead_us, last_seq=self.shown_seq)


@asynccontextmanager
async def viewing(
    url: str,
    *,
    codecs: Sequence[str] = ("jpeg",),
    audio: bool = True,
    token: str | None = None,
    resume: dict[str, Any] | None = None,
    acks: bool = True,
    connect_options: dict[str, Any] | None = None,
    **create: Any,
) -> AsyncIterator[Viewer]:
    """Open or resume a stream and leave at the end."""
    options = {"max_size": None, **(connect_options or {})}
    async with connect(url, **options) as socket:
        hello = {"type": "hello", "versions": [1], "codecs": list(codecs), "audio": audio}
        await socket.send(json.dumps(hello if token is None else {**hello, "token": token}))
        answer = json.loads(await socket.recv())
        opening = {"type": "session.create", **create} if resume is None else resume
        await socket.send(json.dumps(opening))
        ready = json.loads(await socket.recv())
        viewer = Viewer(socket, ready, answer)
        if ready["type"] != "session.ready":
            viewer.messages.append(ready)
        viewer.tasks.append(asyncio.create_task(viewer._read()))
        if acks:
            viewer.tasks.append(asyncio.create_task(viewer._ack()))
        try:
            yield viewer
        finally:
            await viewer.leave()


def resume_message(viewer: Viewer, last_seq: int | None = None) -> dict[str, Any]:
    return {
        "type": "session.resume",
        "session_id": viewer.ready["session_id"],
        "resume_token": viewer.ready["resume_token"],
        "last_seq": viewer.shown_seq if last_seq is None else last_seq,
    }


def decode(codec: str, packets: Sequence[Packet]) -> dict[int, np.ndarray]:
    """Pictures by seq, uint8 RGB."""
    if codec == "jpeg":
        return {packet.seq: simplejpeg.decode_jpeg(packet.payload) for packet in packets}
    decoder = av.VideoCodecContext.create("h264" if codec == "h264" else "vp8", "r")
    decoded: list[av.VideoFrame] = []
    for packet in packets:
        data = av.Packet(packet.payload)
        data.pts = packet.seq
        decoded.extend(decoder.decode(data))
    decoded.extend(decoder.decode(None))
    return {frame.pts or 0: frame.to_ndarray(format="rgb24") for frame in decoded}


class SlowPattern(TestPattern):
    """A test pattern whose step takes a while."""

    def __init__(self, step_s: float) -> None:
        super().__init__()
        self._step_s = step_s

    def step(self, state: object, controls: Any) -> Any:
        time.sleep(self._step_s)
        return super().step(state, controls)


class FailingPattern(TestPattern):
    """A test pattern that breaks at one prompt and refuses another."""

    def step(self, state: object, controls: Any) -> Any:
        if controls.prompt == "break":
            raise RuntimeError("the model broke")
        if controls.prompt == "refuse":
            raise ValueError("no such prompt")
        return super().step(state, controls)
