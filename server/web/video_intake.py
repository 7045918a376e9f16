"""A client's video on its way in: the newest frame is decoded, the others count as dropped.

One frame is decoded at a time, and one waits; nothing else of the client waits for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ...models.contract import VideoInput
from ..media.frames import FrameReader
from ..protocol.errors import StreamError
from ..protocol.messages import correlated
from ..protocol.packets import Packet
from ..session.rates import TokenBucket
from ..session.session import Session

SPARE = 1.25
"""How many times as many frames as the model takes are decoded: clocks differ, networks jitter."""


class VideoIntake:
    """Frames of one connection, to the session that it shows; `moved` is called after each."""

    def __init__(
        self,
        video: VideoInput,
        session: Session,
        *,
        now_s: Callable[[], float],
        moved: Callable[[], None],
        refuse: Callable[[StreamError], None],
    ) -> None:
        self._session = session
        self._now_s = now_s
        self._moved = moved
        self._refuse = refuse
        self._reader = FrameReader(video)
        self._rate = TokenBucket(
            rate_per_s=SPARE * video.fps,
            burst=max(2.0, session.info.video_frames),
            now_s=now_s(),
        )
        self._newest: Packet | None = None
        """The frame that waits."""
        self._decoding: asyncio.Task[None] | None = None

    def offer(self, packet: Packet) -> None:
        """Take a frame, or count it as dropped if frames come faster than the model takes them."""
        if not self._rate.take(self._now_s()):
            self._session.video_in.dropped += 1
            return
        self._session.video_in.dropped += self._newest is not None
        self._newest = packet
        if self._decoding is None:
            self._decoding = asyncio.create_task(self._decode(), name="decode video")

    async def close(self) -> None:
        """End the decoding and its process."""
        decoding, self._decoding = self._decoding, None
        if decoding is not None:
            decoding.cancel()
            await asyncio.gather(decoding, return_exceptions=True)
        await self._reader.close()

    async def _decode(self) -> None:
        while self._newest is not None:
            packet, self._newest = self._newest, None
            try:
                frame = await self._reader.read(packet.payload)
            except StreamError as error:
                self._session.video_in.dropped += 1
                self._refuse(correlated(error, packet))
            else:
                self._session.receive_frame(frame, self._now_s())
                self._moved()
        self._decoding = None
