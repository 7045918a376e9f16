"""All who watch one stream: who comes and goes, what they are shown and told."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ...models.contract import ModelInfo
from ..protocol.errors import Capacity, Ended, StreamError, Timeout
from ..protocol.server_messages import ServerMessage, State, Viewers
from ..session.media import MediaChunk
from ..session.quality import BEST, Quality
from .channel import Channel, Format
from .seat import Seat
from .tap import Tap

RETRY_S = 10.0


class Audience:
    """The viewers of a stream, by how they take it; who takes it alike shares one encoding.

    At most `most` may watch. `lead_us` is how far ahead of the stream's own client there may be
    media, `kbps` the bitrate of what they are shown.
    """

    def __init__(
        self, info: ModelInfo, *, most: int, lead_us: float, kbps: int, idle_timeout_s: float
    ) -> None:
        self._info = info
        self._most = most
        self._lead_us = lead_us
        self._kbps = kbps
        self._idle_timeout_s = idle_timeout_s
        self._channels: dict[Format, Channel] = {}
        self._addresses: dict[Seat, str] = {}
        self._taps: list[Tap] = []
        self._state: State | None = None
        self._quality = BEST
        self._told = 0
        self._left_cuts = self._left_skips = 0
        self.epoch = 0
        """Links of an earlier one are not good any more."""

    def __len__(self) -> int:
        return len(self._addresses)

    def __iter__(self) -> Iterator[Seat]:
        return iter(list(self._addresses))

    @property
    def cuts(self) -> int:
        """How often a viewer was too far behind and had to wait for a key frame."""
        return self._left_cuts + sum(seat.cuts for seat in self._addresses)

    @property
    def skipped_frames(self) -> int:
        """Frames that no viewer was shown, for the encoder fell behind."""
        return self._left_skips + sum(each.skipped_frames for each in self._channels.values())

    def of_address(self, address: str) -> int:
        """How many of them come from there."""
        return sum(each == address for each in self._addresses.values())

    def channel(self, format_: Format) -> Channel:
        """The channel of a format."""
        if format_ not in self._channels:
            channel = self._channels[format_] = Channel(self._info, format_, self._kbps)
            channel.change_quality(self._quality)
        return self._channels[format_]

    def join(
        self, channel: Channel, address: str, notify: Callable[[], None], now_s: float
    ) -> Seat:
        """Take a seat. Raises Capacity when all are taken."""
        if len(self) >= self._most:
            raise Capacity(
                f"{self._most} watch this stream, and no more may"
                if self._most
                else "streams of this server cannot be watched by others",
                hint="Ask who shared it, or come again when somebody has left.",
                retry_after_s=RETRY_S if self._most else None,
            )
        seat = Seat(self._lead_us, notify, now_s)
        channel.seats.append(seat)
        self._addresses[seat] = address
        if self._state is not None:
            seat.say(self._state)
        return seat

    def listen(self, channel: Channel, tap: Tap) -> None:
        """Take a channel's packets without a seat."""
        channel.seats.append(tap)
        self._taps.append(tap)

    def leave(self, channel: Channel, seat: Seat | Tap) -> None:
        """A viewer is gone; a channel that nobody takes any more is over."""
        if isinstance(seat, Seat):
            self._addresses.pop(seat, None)
        elif seat in self._taps:
            self._taps.remove(seat)
        self._left_cuts += seat.cuts
        if seat in channel.seats:
            channel.seats.remove(seat)
        if not channel.seats and self._channels.get(channel.format) is channel:
            del self._channels[channel.format]
            self._left_skips += channel.skipped_frames
            channel.wake()

    def show(self, chunk: MediaChunk) -> None:
        """A chunk was generated."""
        for channel in self._channels.values():
            channel.show(chunk.pieces(-1, channel.audio_codec is not None))

    def change_quality(self, quality: Quality) -> None:
        """Give up as much as this: with fewer bits they see half of the frames."""
        self._quality = quality
        for channel in self._channels.values():
            channel.change_quality(quality)

    def say(self, message: ServerMessage) -> None:
        """Tell all of them."""
        for seat in self:
            seat.say(message)

    def tick(self, state: State, now_s: float) -> Viewers | None:
        """Let time pass; `state` is the stream's. Returns how many watch if that has changed."""
        if self._state is None or not _same(state, self._state):
            self._state = state
            self.say(state)
        for seat in self:
            if now_s - seat.heard_s > self._idle_timeout_s:
                seat.end(Timeout(f"nothing was heard for {self._idle_timeout_s:g} s"))
        if len(self) == self._told:
            return None
        self._told = len(self)
        news = Viewers(count=self._told)
        self.say(news)
        return news

    def excuse(self, stall_s: float) -> None:
        """The server itself stood still meanwhile: nobody could be heard."""
        for seat in self:
            seat.heard_s += stall_s

    def revoke(self) -> None:
        """Links that were made so far are not good any more, and who came by them has to go."""
        self.epoch += 1
        self.end(Ended("the link was withdrawn", hint="Ask who shared it for another one."))

    def end(self, error: StreamError) -> None:
        """Send all of them away."""
        for seat in self:
            seat.end(error)

    def close(self, error: StreamError) -> None:
        """The stream is over, for those who record it as well."""
        self.end(error)
        for tap in list(self._taps):
            tap.end(error)


def _same(one: State, other: State) -> bool:
    """Whether nothing but the figures differs."""
    return (one.talking, one.paused, one.scene) == (other.talking, other.paused, other.scene)
