"""The encoders of those who watch: one runs for each channel while anybody is there to see it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from ..audience.audience import Audience
from ..audience.channel import Channel, Format
from ..audience.seat import Seat
from ..audience.tap import Tap
from ..logs import logger
from ..metrics import Metrics
from ..protocol.errors import EngineFailed, StreamError
from ..protocol.server_messages import VideoFormat
from .encoder import Encoders
from .packet_encoder import PacketEncoder
from .workers import Workers

TOGETHER_S = 0.02
"""Packets leave together of which the first is no older than this: those of a chunk, mostly."""


class Broadcast:
    """Opens, drives and closes the encoders of all channels; `now_s` is the sessions' clock."""

    def __init__(
        self, encoders: Encoders, workers: Workers, metrics: Metrics, now_s: Callable[[], float]
    ) -> None:
        self._encoders = encoders
        self._workers = workers
        self._metrics = metrics
        self._now_s = now_s
        self._opening: dict[Channel, asyncio.Task[PacketEncoder]] = {}
        self._running: dict[Channel, asyncio.Task[None]] = {}
        self._log = logger("rollcast.audience")

    async def join(
        self, audience: Audience, format_: Format, address: str, notify: Callable[[], None]
    ) -> tuple[Channel, Seat, str]:
        """Take a seat; also returns what a browser's decoder is configured with.

        Raises Capacity when there is none, EngineFailed when no encoder opens.
        """
        channel = audience.channel(format_)
        seat = audience.join(channel, address, notify, self._now_s())
        return channel, seat, await self._opened(audience, channel, seat)

    async def listen(self, audience: Audience, format_: Format, tap: Tap) -> Channel:
        """Let `tap` take the packets of a format. Raises EngineFailed when no encoder opens."""
        channel = audience.channel(format_)
        audience.listen(channel, tap)
        await self._opened(audience, channel, tap)
        return channel

    async def _opened(self, audience: Audience, channel: Channel, seat: Seat | Tap) -> str:
        """What a browser's decoder is configured with, once the channel has an encoder."""
        try:
            if channel not in self._opening:
                self._opening[channel] = asyncio.create_task(self._open(channel), name="open")
            encoder = await asyncio.shield(self._opening[channel])
        except BaseException:
            self.leave(audience, channel, seat)
            raise
        return encoder.codec_string

    def leave(self, audience: Audience, channel: Channel, seat: Seat | Tap) -> None:
        """Give a seat back."""
        audience.leave(channel, seat)
        if not channel.seats:
            self._opening.pop(channel, None)

    async def close(self) -> None:
        """End all encoders."""
        tasks = [*self._opening.values(), *self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _open(self, channel: Channel) -> PacketEncoder:
        encoder = await PacketEncoder.open(
            channel, (channel.format.codec,), self._encoders, self._workers, self._metrics
        )
        task = asyncio.create_task(self._run(channel, encoder), name="broadcast")
        self._running[channel] = task
        task.add_done_callback(lambda _: self._running.pop(channel, None))
        return encoder

    async def _run(self, channel: Channel, encoder: PacketEncoder) -> None:
        """Encode until nobody is left; what fails sends the channel's viewers away, not others."""
        wake, held_s = asyncio.Event(), math.inf
        channel.wake = wake.set
        try:
            while channel.seats:
                piece = channel.next_piece(self._now_s())
                if piece is None or self._now_s() - held_s >= TOGETHER_S:
                    channel.let_go()
                    held_s = math.inf
                if piece is None:
                    await wake.wait()
                    wake.clear()
                    continue
                packets = await encoder.encode(piece)
                assert not isinstance(packets, VideoFormat), "a channel has one size and one codec"
                channel.publish(piece, packets, self._now_s())
                held_s = min(held_s, self._now_s())
        except asyncio.CancelledError:
            raise
        except Exception as error:
            if not isinstance(error, StreamError):
                self._log.exception("a broadcast fails", codec=channel.format.codec)
                error = EngineFailed("the server failed at this stream")
            self._opening.pop(channel, None)
            for seat in list(channel.seats):
                seat.end(error)
