"""Which cache slot a frame lives in: sink slots first, a ring of the latest frames behind them.

Plain integers, no tensors. A new frame takes the next free slot, and once there is none that of a
frame that it evicts: the oldest one behind the frames that are kept. So nothing is ever moved, and
the live slots are always the first ones. Frame f < sink_frames has slot f.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any

from ...kernels.ring_plan import FrameWrite


@dataclass(frozen=True, slots=True)
class Held:
    """Frame `frame` of the stream lies in slot `slot`."""

    frame: int
    slot: int


@dataclass(frozen=True, slots=True)
class RingWrite:
    """What one call does to the cache: `evictions` oldest first, then `segments` are written.

    Slots 0..`live` are then the cache; `order[slot]` is the place of a live slot in time, counted
    in frames from the sink on without gaps.
    """

    evictions: tuple[Held, ...]
    segments: tuple[FrameWrite, ...]
    live: int
    order: tuple[int, ...]


class FrameRing:
    """Places frames in a cache of `sink_frames` + `window_frames` slots.

    `end` is the number of frames of the stream so far, those of the chunk under way included;
    `held` are the frames in the cache, oldest first.
    """

    def __init__(self, sink_frames: int, window_frames: int, *, rolling: bool = True) -> None:
        self.sink_frames = sink_frames
        self.window_frames = window_frames
        self.rolling = rolling
        self.reset()

    def reset(self) -> None:
        """Back to an empty cache."""
        self.end = 0
        self.held: list[Held] = []
        self._pin: tuple[int, int] | None = None

    def copy(self) -> FrameRing:
        """Another ring that is where this one is."""
        other = copy(self)
        other.held = list(self.held)
        return other

    @property
    def capacity(self) -> int:
        """Slots in all."""
        return self.sink_frames + self.window_frames

    @property
    def live(self) -> int:
        """Slots in use."""
        return len(self.held)

    def pin(self, chunk_frames: int, keep: int) -> None:
        """Keep the first `keep` of the latest `chunk_frames` frames until others are pinned.

        As published for LongLive 2: they are only kept once they have come to stand right behind
        the sink, which the frames between them leave one after another.
        """
        self._pin = self.live - chunk_frames, min(keep, chunk_frames)

    def write(self, start: int, frames: int, *, keep_sink: bool = False) -> RingWrite:
        """Give stream frames `start`..`start + frames` their slots.

        Writing frames again overwrites them in place. Of a call with more frames than the cache
        still holds, the last ones are written. `keep_sink` leaves the sink slots untouched.
        Raises ValueError for frames beyond the end of the stream, before its last written one,
        too many for the window, or too many for a cache that does not roll.
        """
        end = start + frames
        self._check(start, end, frames)
        evictions = self._take(end)
        written = min(frames, self.live)
        places = range(self.live - written, self.live)
        segments = _runs(
            (frames - self.live + place, self.held[place].slot)
            for place in places
            if not (keep_sink and place < self.sink_frames)
        )
        return RingWrite(evictions, segments, self.live, self._order())

    def jump(self, end: int) -> None:
        """Go on at frame `end`, as if frames up to there had come and gone; what is held stays."""
        self.end = end

    def metadata(self) -> dict[str, Any]:
        """All of it, JSON-able; without a pin or a jump it follows from `end` alone."""
        plain: dict[str, Any] = {"end": self.end}
        if self._pin is not None:
            plain["pin"] = list(self._pin)
        if self._pin is not None or self.held != self._as_they_come():
            plain["held"] = [[held.frame, held.slot] for held in self.held]
        return plain

    def load(self, metadata: Mapping[str, Any]) -> None:
        """Take over the `metadata` of a ring of the same shape."""
        self.end = int(metadata["end"])
        self.held = self._as_they_come()
        self._pin = None
        if "held" in metadata:
            self.held = [Held(int(frame), int(slot)) for frame, slot in metadata["held"]]
        if "pin" in metadata:
            self._pin = int(metadata["pin"][0]), int(metadata["pin"][1])

    def _as_they_come(self) -> list[Held]:
        """What the cache holds at `end` if nothing was ever pinned or left out."""
        sinks, window = self.sink_frames, self.window_frames
        frames = (*range(min(self.end, sinks)), *range(max(sinks, self.end - window), self.end))
        return [
            Held(frame, frame if frame < sinks else sinks + (frame - sinks) % window)
            for frame in frames
        ]

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
        room = self.capacity - self._kept_places()
        if frames > room and end > max(self.capacity, self.end):
            raise ValueError(f"a chunk of {frames} frames does not fit a window of {room}")

    def _kept_places(self) -> int:
        """The places that nothing leaves: the sink's, and the pinned ones right behind it."""
        start, length = self._pin or (0, 0)
        return self.sink_frames + (length if self._pin and start == self.sink_frames else 0)

    def _take(self, end: int) -> tuple[Held, ...]:
        """Hold the frames up to `end`; what that evicts."""
        gone = max(0, self.live + end - self.end - self.capacity)
        first = self._kept_places()
        evictions = tuple(self.held[first : first + gone])
        del self.held[first : first + gone]
        if gone and self._pin is not None and self._pin[0] >= first:
            self._pin = self._pin[0] - gone, self._pin[1]
        slots = (*range(self.live + gone, self.capacity), *(held.slot for held in evictions))
        new = range(self.end, end)
        self.held += [Held(frame, slot) for frame, slot in zip(new, slots, strict=False)]
        self.end = end
        return evictions

    def _order(self) -> tuple[int, ...]:
        order = [0] * self.live
        for place, held in enumerate(self.held):
            order[held.slot] = place
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
