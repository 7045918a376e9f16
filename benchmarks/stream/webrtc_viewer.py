"""A WebRTC viewer for the benchmark: it steers by the data channel, speaks, looks and listens."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import av
import numpy as np

OPEN_S = 15.0
# It is this machine's own, which no proxy can reach.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class PeerViewer:
    """Calls `seen` with each picture, uint8 RGB, and `heard` with each 20 ms of sound."""

    def __init__(
        self, seen: Callable[[np.ndarray], None], heard: Callable[[np.ndarray], None]
    ) -> None:
        from aiortc import RTCConfiguration, RTCPeerConnection

        from .microphone_track import Microphone

        self.seen, self.heard = seen, heard
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.channel = self.pc.createDataChannel("rollcast")
        self.channel.on("message", self._told)
        self.microphone = Microphone()
        self._open: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._events = 0
        self._tasks: list[asyncio.Task[None]] = []
        self.pc.addTransceiver("video", direction="recvonly")
        self.pc.addTransceiver(self.microphone, direction="sendrecv")
        self.pc.on("track", self._begin)

    async def open(self, url: str) -> None:
        """Connect and open a stream."""
        from aiortc import RTCSessionDescription

        _on_loopback()
        await self.pc.setLocalDescription(await self.pc.createOffer())
        answer = await asyncio.to_thread(_post, f"{url}/v1/whep", self.pc.localDescription.sdp)
        await self.pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        async with asyncio.timeout(OPEN_S):
            while self.channel.readyState != "open":
                await asyncio.sleep(0.002)
        await self.ask("hello", "hello", versions=[1], codecs=["h264"])
        await self.ask("session.create", "session.ready")

    async def control(self, type_: str, **fields: Any) -> None:
        """Send a control and wait until it is answered."""
        self._events += 1
        event_id = f"e{self._events}"
        await self.ask(type_, event_id, event_id=event_id, **fields)

    async def ask(self, type_: str, answer: str, **fields: Any) -> dict[str, Any]:
        """Send, and wait for the answer: a type, or an event_id."""
        waiting = self._open[answer] = asyncio.get_running_loop().create_future()
        self.channel.send(json.dumps({"type": type_, **fields}))
        async with asyncio.timeout(OPEN_S):
            return await waiting

    async def close(self) -> None:
        """End the stream."""
        with suppress(Exception):
            self.channel.send('{"type": "session.close"}')
            await asyncio.sleep(0.1)
        await self.pc.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, track: Any) -> None:
        self._tasks.append(asyncio.create_task(self._take(track)))

    def _told(self, text: str) -> None:
        said = json.loads(text)
        for name in (said.get("event_id"), said["type"]):
            waiting = self._open.get(name)
            if waiting is not None and not waiting.done():
                waiting.set_result(said)

    async def _take(self, track: Any) -> None:
        from aiortc.mediastreams import MediaStreamError

        with suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                if isinstance(frame, av.VideoFrame):
                    self.seen(frame.to_ndarray(format="rgb24"))
                else:
                    self.heard(frame.to_ndarray().reshape(-1)[::2])


@asynccontextmanager
async def peer_viewer(
    url: str, seen: Callable[[np.ndarray], None], heard: Callable[[np.ndarray], None]
) -> AsyncIterator[PeerViewer]:
    """One that has opened its stream on the server at `url`; it ends with the block."""
    viewer = PeerViewer(seen, heard)
    try:
        await viewer.open(url)
        yield viewer
    finally:
        await viewer.close()


def _post(url: str, offer: str) -> str:
    headers = {"content-type": "application/sdp"}
    request = urllib.request.Request(url, offer.encode(), headers, method="POST")
    with _DIRECT.open(request, timeout=OPEN_S) as reply:
        return reply.read().decode()


def _on_loopback() -> None:
    """The library leaves loopback out of a peer's addresses."""
    import aioice.ice

    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]
