"""One who sends sound, and perhaps video, to a stream over WHIP, and is shown nothing of it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from ..engine.engine import Engine
from ..engine.hosted_stream import HostedStream
from ..protocol.errors import AudioOverflow, NotSupported
from ..session.arrivals import LiveSound
from ..session.rates import TokenBucket

if TYPE_CHECKING:
    import av

CONNECT_S = 10.0
LOOK_EVERY_S = 0.5
SPARE = 1.25
"""How many times as many frames as the model takes are looked at."""


class Publisher:
    """Takes what a peer sends to the stream, until either ends or the token is withdrawn."""

    def __init__(self, engine: Engine, stream: HostedStream, epoch: int) -> None:
        self._engine = engine
        self._stream = stream
        self._epoch = epoch
        self._ended = asyncio.Event()
        self._connected = False
        video = stream.session.info.inputs.video
        self._video = video
        self._frames = None
        if video is not None:
            self._frames = TokenBucket(
                rate_per_s=SPARE * video.fps, burst=max(2.0, video.fps / 4), now_s=engine.now_s()
            )

    @property
    def takes_video(self) -> bool:
        """Whether the stream's model does."""
        return self._video is not None

    async def run(self) -> None:
        """Until the end."""
        begun_s = self._engine.now_s()
        while not self._ended.is_set() and self._welcome(begun_s):
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._ended.wait()

    def connected(self) -> None:
        """See `PeerEvents`."""
        self._connected = True

    def lost(self) -> None:
        """See `PeerEvents`."""
        self._ended.set()

    def told(self, message: str | bytes) -> None:
        """See `PeerEvents`: who only publishes has nothing to say."""

    def heard(self, sound: LiveSound) -> None:
        """See `PeerEvents`."""
        session = self._stream.session
        if session.attached and not session.paused:
            with suppress(AudioOverflow, NotSupported):
                session.receive_sound(sound, self._engine.now_s())
            self._moved()

    def seen(self, frame: av.VideoFrame) -> None:
        """See `PeerEvents`."""
        now_s, session = self._engine.now_s(), self._stream.session
        if self._video is None or self._frames is None or not session.attached:
            return
        if not self._frames.take(now_s):
            session.video_in.dropped += 1
            return
        from ..webrtc.picture_in import picture_of

        session.receive_frame(picture_of(frame, self._video.width, self._video.height), now_s)
        self._moved()

    def wants_key(self) -> None:
        """See `PeerEvents`: nothing is shown."""

    def reported(self, lost_share: float | None, kbps: float | None) -> None:
        """See `PeerEvents`: nothing is sent."""

    def _moved(self) -> None:
        self._engine.wake()
        self._stream.notify()

    def _welcome(self, begun_s: float) -> bool:
        if not self._connected and self._engine.now_s() - begun_s > CONNECT_S:
            return False
        here = self._engine.streams.get(self._stream.session_id) is self._stream
        return here and self._stream.audience.epoch == self._epoch
