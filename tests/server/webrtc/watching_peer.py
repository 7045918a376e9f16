"""A WebRTC client in the test's own loop: it looks, listens, speaks and steers, on loopback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import av
import httpx
import numpy as np
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError

from rollcast.benchmarks.stream.microphone_track import RATE, Microphone
from rollcast.models.test_pattern import read_barcode
from rollcast.server.webrtc.ice import reached_at

from ..running import WAIT_S, RunningServer

SDP = {"content-type": "application/sdp"}


@dataclass
class Peer:
    """What came, each with the time of its arrival."""

    pc: RTCPeerConnection
    microphone: Microphone
    channel: Any = None
    location: str = ""
    etag: str = ""
    messages: list[dict[str, Any]] = field(default_factory=list)
    pictures: list[tuple[float, np.ndarray]] = field(default_factory=list)
    sounds: list[tuple[float, np.ndarray]] = field(default_factory=list)
    events: int = 0
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def say(self, type_: str, **fields: Any) -> None:
        self.channel.send(json.dumps({"type": type_, **fields}))

    async def control(self, type_: str, **fields: Any) -> dict[str, Any]:
        """Send a control and wait for its answer."""
        self.events += 1
        event_id = f"e{self.events}"
        self.say(type_, event_id=event_id, **fields)
        return await self.message(lambda said: said.get("event_id") == event_id)

    async def message(self, match: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        await self.until(lambda: any(map(match, self.messages)))
        return next(said for said in self.messages if match(said))

    async def of_type(self, type_: str) -> dict[str, Any]:
        return await self.message(lambda said: said["type"] == type_)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not condition():
                await asyncio.sleep(0.005)

    async def open(self, hello: dict[str, Any] | None = None, **create: Any) -> dict[str, Any]:
        """Greet and open a stream."""
        await self.until(lambda: self.channel.readyState == "open")
        self.say("hello", versions=[1], codecs=["jpeg"], **(hello or {}))
        await self.of_type("hello")
        self.say(create.pop("type", "session.create"), **create)
        return await self.message(
            lambda said: said["type"] in ("session.ready", "session.watching", "error")
        )

    def barcodes(self) -> list[int]:
        return [read_barcode(picture) for _, picture in self.pictures]

    def loud(self, above: int = 2000) -> list[float]:
        """When loud sound came, in blocks of 20 ms."""
        return [at_s for at_s, samples in self.sounds if np.abs(samples).max() > above]

    async def close(self) -> None:
        await self.pc.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


@asynccontextmanager
async def peer(
    server: RunningServer,
    *,
    controls: bool = True,
    codec: str = "video/H264",
    speaks: bool = True,
    token: str | None = None,
    query: str = "",
    path: str = "/v1/whep",
    offered: Callable[[str], str] = str,
    answered: Callable[[str], str] = str,
) -> AsyncIterator[Peer]:
    """A peer whose offer was answered; closed at the end.

    `offered` and `answered` change what each side is told of the other.
    """
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    one = Peer(pc, Microphone())
    if controls:
        one.channel = pc.createDataChannel("rollcast")
        one.channel.on("message", lambda text: one.messages.append(json.loads(text)))
    video = pc.addTransceiver("video", direction="recvonly")
    known = RTCRtpReceiver.getCapabilities("video")
    assert known is not None
    video.setCodecPreferences([each for each in known.codecs if each.mimeType in (codec,)])
    if speaks:
        pc.addTransceiver(one.microphone, direction="sendrecv")
    else:
        pc.addTransceiver("audio", direction="recvonly")

    @pc.on("track")
    def _(track: MediaStreamTrack) -> None:
        one.tasks.append(asyncio.create_task(_take(one, track)))

    with reached_at(("127.0.0.1",)):
        await pc.setLocalDescription(await pc.createOffer())
    headers = SDP | ({} if token is None else {"authorization": f"Bearer {token}"})
    async with httpx.AsyncClient() as client:
        answer = await client.post(
            f"{server.http}{path}{query}", content=offered(pc.localDescription.sdp), headers=headers
        )
    try:
        if answer.status_code != 201:
            raise Refused(answer)
        one.location, one.etag = answer.headers["location"], answer.headers["etag"]
        with reached_at(("127.0.0.1",)):
            await pc.setRemoteDescription(RTCSessionDescription(answered(answer.text), "answer"))
        yield one
    finally:
        await one.close()


class Refused(Exception):
    """The answer to an offer that was refused."""

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__(answer.text)
        self.status = answer.status_code
        self.said: dict[str, Any] = answer.json()


async def _take(one: Peer, track: MediaStreamTrack) -> None:
    loop = asyncio.get_running_loop()
    with suppress(MediaStreamError):
        while True:
            frame = await track.recv()
            if isinstance(frame, av.VideoFrame):
                one.pictures.append((loop.time(), frame.to_ndarray(format="rgb24")))
            elif isinstance(frame, av.AudioFrame):
                one.sounds.append((loop.time(), frame.to_ndarray().reshape(-1)[::2].copy()))


def tone(seconds: float, rate: int = RATE) -> np.ndarray:
    """440 Hz."""
    times = np.arange(round(seconds * rate)) / rate
    return np.round(8000 * np.sin(2 * np.pi * 440 * times)).astype(np.int16)
