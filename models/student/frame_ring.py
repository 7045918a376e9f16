"""Which cache slot a frame lives in: sink slots first, a ring of the latest frames behind them.

Plain integers, no tensors. Frame f < sink_frames has slot f; a later frame has slot
sink_frames + (f - sink_frames) mod window_frames, so nothing is ever moved, the live slots are
always the first ones, and the slot a new frame takes is that of the frame it evicts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ...kernels.ring_plan import FrameWrite


@dataclass(frozen=True, slots=True)
class Eviction:
    """Frame `frame` leaves slot `slot`."""

    frame: int
    slot: int


@dataclass(frozen=True, slots=True)
class RingWrite:
    """What one call does to the cache: `evictions` oldest first, then `segments` are written.

    Slots 0..`live` are then the cache; `order[slot]` is the place of a live slot in time, counted
    in frames from the sink on without gaps.
    """

    evictions: tuple[Eviction, ...]
    segments: tuple[FrameWrite, ...]
    live: int
    order: tuple[int, ...]


class FrameRing:
    """Places frames in a cache of `sink_frames` + `window_frames` slots.

    `end` is the number of frames of the stream so far, those of the chunk under way included.
    """

    def __init__(self, sink_frames: int, window_frames: int, *, rolling: bool = True) -> None:
        self.sink_frames = sink_frames
        self.window_frames = window_frames
        self.rolling = rolling
        self.end = 0

    @property
    def capacity(self) -> int:
        """Slots in all."""
        return self.sink_frames + self.window_frames

    @property
    def live(self) -> int:
        """Slots in use."""
        return min(self.end, self.capacity)

    def slot(self, frame: int) -> int:
        """The slot of stream frame `frame`."""
        if frame < self.sink_frames:
            return frame
        return self.sink_frames + (frame - self.sink_frames) % self.window_frames

    def write(self, start: int, frames: int, *, keep_sink: bool = False) -> RingWrite:
        """Give stream frames `start`..`start + frames` their slots.

        Writing frames again overwrites them in place. Of a call with more frames than the cache
        still holds, the last ones are written. `keep_sink` leaves the sink slots untouched.
        Raises ValueError for frames beyond the end of the stream, before its last written one,
        too many for the window, or too many for a cache that does not roll.
        """
        end = start + frames
        self._check(start, end, frames)
        evictions = self._evictions(end)
        self.end = end
        written = min(frames, self.live)
        places = range(self.live - written, self.live)
        segments = _runs(
            (frames - self.live + place, self._slot_of_place(place))
            for place in places
            if not (keep_sink and place < self.sink_frames)
        )
        return RingWrite(evictions, segments, self.live, self._order())

    def _check(self, start: int, end: int, frames: int) -> None:
        if frames < 1 or not 0 <= start <= self.end or end < self.end:
            raise ValueError(
                f"got frames {start}..{end} with the cache at {self.end}; expected a call that "
                "starts at or before the end and reaches it"
            )
        if end > self.capacity and not self.rolling:
            raise ValueError(
                f"global attention over {self.capacity} frames, but frame {end} was asked for; "
                "use a rolling window or reset the cache"
            )
        if frames > self.window_frames and end > max(self.capacity, self.end):
            raise ValueError(
                f"a chunk of {frames} frames does not fit a window of {self.window_frames}"
            )

    def _evictions(self, end: int) -> tuple[Eviction, ...]:
        first = max(self.sink_frames, self.end - self.window_frames)
        return tuple(
            Eviction(frame, self.slot(frame)) for frame in range(first, end - self.window_frames)
        )

    def _slot_of_place(self, place: int) -> int:
        if place < self.sink_frames:
            return place
        return self.slot(self.end - self.live + place)

    def _order(self) -> tuple[int, ...]:
        order = [0] * self.live
        for place in range(self.live):
            order[self._slot_of_place(place)] = place
        return tuple(order)


def _runs(pairs: Iterable[tuple[int, int]]) -> tuple[FrameWrite, ...]:
    segments: list[FrameWrite] = []
    for source, slot in pairs:
        last = segments[-1] if segments else None
        if last and slot == last.slot + last.frames and source == last.source + last.frames:
            segments[-1] = FrameWrite(last.source, last.slot, last.frames + 1)
        else:
            segments.append(FrameWrite(source, slot, 1))
    return tuple(segments)
