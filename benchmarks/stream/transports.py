"""The WebSocket and WebRTC side by side: how soon each obeys, speaks, is silent, and its cost.

One server with the test pattern, which shows what it was told; each way in turn is used by one
viewer who steers and speaks, then by several who only look, for the server's processor time. What
a viewer hears and sees is timed where it is played: by media time over the WebSocket, as it leaves
the receiver's buffer over WebRTC. A screen and a loudspeaker come on top of both.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from statistics import median
from time import monotonic
from typing import Literal, Protocol

import numpy as np

from ...client import Frame, Stream, connect
from .processor_time import process_s
from .server_process import ServerProcess
from .webrtc_viewer import PeerViewer, peer_viewer

Transport = Literal["websocket", "webrtc"]
TRANSPORTS: tuple[Transport, ...] = ("websocket", "webrtc")
MODEL = "test-pattern"
PROMPTS = ("a red wall", "a blue wall")
RATE = 48_000
LOUD = 2000
SENTENCE_S = 2.0
WAIT_S = 20.0
SETTLE_S = 2.0


@dataclass(frozen=True, slots=True)
class TransportRow:
    """One way: medians in milliseconds, and what a viewer costs the server.

    `first_frame_ms` from connecting; `control_ms` from a prompt to a picture that obeys;
    `speech_ms` from the first sample said to the first one heard; `silence_ms` from an interruption
    to the last loud sound.
    """

    transport: Transport
    first_frame_ms: float
    control_ms: float
    speech_ms: float
    silence_ms: float
    server_core_share_a_viewer: float


@dataclass(frozen=True, slots=True)
class TransportReport:
    """Both ways on the same server, with so many viewers for the processor time."""

    rows: list[TransportRow]
    viewers: int

    def to_json(self) -> dict[str, object]:
        """The report as plain values."""
        return asdict(self)


class _Viewer(Protocol):
    async def prompt(self, text: str) -> object: ...
    async def speak(self, samples: np.ndarray) -> None: ...
    async def interrupt(self) -> None: ...


class _Senses:
    """What one viewer has seen and heard, with the time of each."""

    def __init__(self) -> None:
        self.blue: list[tuple[float, bool]] = []
        self.loud_s: list[float] = []

    def seen(self, pixels: np.ndarray) -> None:
        """A picture; its band has the prompt's colour."""
        red, _, blue = pixels[10:22, 4:124].reshape(-1, 3).mean(axis=0)
        self.blue.append((monotonic(), bool(blue > red)))

    def heard(self, samples: np.ndarray) -> None:
        """A piece of sound that is played now."""
        if len(samples) and np.abs(samples).max() > LOUD:
            self.loud_s.append(monotonic())

    async def until(self, condition: Callable[[], bool]) -> None:
        """Raises TimeoutError."""
        async with asyncio.timeout(WAIT_S):
            while not condition():
                await asyncio.sleep(0.002)


class _OverSocket:
    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    async def prompt(self, text: str) -> object:
        return await self._stream.prompt(text)

    async def speak(self, samples: np.ndarray) -> None:
        """In real time, as a microphone does."""
        for begin in range(0, len(samples), RATE // 50):
            await self._stream.feed(samples[begin : begin + RATE // 50])
            await asyncio.sleep(0.02)

    async def interrupt(self) -> None:
        await self._stream.clear_audio()


class _OverPeer:
    def __init__(self, peer: PeerViewer) -> None:
        self._peer = peer

    async def prompt(self, text: str) -> object:
        return await self._peer.control("prompt", text=text)

    async def speak(self, samples: np.ndarray) -> None:
        self._peer.microphone.say(samples)
        try:
            await asyncio.sleep(len(samples) / RATE)
        finally:
            self._peer.microphone.hush()

    async def interrupt(self) -> None:
        await self._peer.control("audio.clear")


def measure_transports(
    turns: int, viewers: int, seconds: float, say: Callable[[str], None]
) -> TransportReport:
    """Steer and speak `turns` times over each way, then let `viewers` look for `seconds`.

    Raises ServerDied, and ImportError without the packages of rollcast[webrtc].
    """
    import aiortc  # noqa: F401  what it is for is said before a server is started

    options = ("--webrtc-address", "127.0.0.1")
    with ServerProcess(MODEL, max_sessions=viewers + 1, options=options) as server:
        server.wait_ready()
        rows = asyncio.run(_rows(server, turns, viewers, seconds, say))
    return TransportReport(rows, viewers)


async def _rows(
    server: ServerProcess, turns: int, viewers: int, seconds: float, say: Callable[[str], None]
) -> list[TransportRow]:
    rows: list[TransportRow] = []
    for transport in TRANSPORTS:
        # the first one of a kind loads what the others find loaded
        async with _viewing(transport, server.url, _Senses()):
            pass
        say(f"{transport}: {turns} prompts and interruptions")
        figures = [await _turn(transport, server.url) for _ in range(turns)]
        say(f"{transport}: {viewers} viewer(s) for {seconds:g} s")
        share = await _cost(transport, server, viewers, seconds)
        first, control, speech, silence = (
            1e3 * median(each) for each in zip(*figures, strict=True)
        )
        rows.append(TransportRow(transport, first, control, speech, silence, share))
    return rows


async def _turn(transport: Transport, url: str) -> tuple[float, float, float, float]:
    """First frame, prompt, speech, silence; in seconds."""
    senses, begin_s = _Senses(), monotonic()
    async with _viewing(transport, url, senses) as viewer:
        await senses.until(lambda: len(senses.blue) > 0)
        first_s = senses.blue[0][0] - begin_s
        await viewer.prompt(PROMPTS[0])
        await senses.until(lambda: len(senses.blue) > 25 and not senses.blue[-1][1])
        asked_s = monotonic()
        await viewer.prompt(PROMPTS[1])
        await senses.until(lambda: senses.blue[-1][1])
        control_s = next(at_s for at_s, blue in senses.blue if blue and at_s > asked_s) - asked_s
        times = np.arange(round(SENTENCE_S * RATE)) / RATE
        hum = np.round(8000 * np.sin(2 * np.pi * 440 * times)).astype(np.int16)
        said_s = monotonic()
        speaking = asyncio.create_task(viewer.speak(hum))
        await senses.until(lambda: len(senses.loud_s) > 10)
        speech_s = senses.loud_s[0] - said_s
        speaking.cancel()
        await asyncio.gather(speaking, return_exceptions=True)
        cut_s = monotonic()
        await viewer.interrupt()
        await asyncio.sleep(0.3)  # what was said before it is heard by then
        late = [at_s for at_s in senses.loud_s if cut_s < at_s]
        return first_s, control_s, speech_s, max(late, default=cut_s) - cut_s


async def _cost(transport: Transport, server: ServerProcess, viewers: int, seconds: float) -> float:
    """The share of a core that the server's process uses for each of so many viewers."""
    async with AsyncExitStack() as stack:
        for _ in range(viewers):
            await stack.enter_async_context(_viewing(transport, server.url, _Senses()))
        await asyncio.sleep(SETTLE_S)
        begin_s, used_s = monotonic(), process_s(server.pid)
        await asyncio.sleep(seconds)
        return (process_s(server.pid) - used_s) / (monotonic() - begin_s) / viewers


@asynccontextmanager
async def _viewing(transport: Transport, url: str, senses: _Senses) -> AsyncIterator[_Viewer]:
    if transport == "webrtc":
        async with peer_viewer(url, senses.seen, senses.heard) as peer:
            yield _OverPeer(peer)
        return
    options = {"codecs": ("h264",), "audio_codec": "opus", "audio_rate": RATE, "wait": False}
    async with connect(url, **options) as stream:
        reading = asyncio.create_task(_read(stream, senses))
        try:
            yield _OverSocket(stream)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


async def _read(stream: Stream, senses: _Senses) -> None:
    async for media in stream:
        if isinstance(media, Frame):
            senses.seen(media.image)
        else:
            senses.heard(media.samples)
