"""Slots of frames against a plain list that drops its oldest."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollcast.kernels.ring_plan import FrameWrite
from rollcast.models.student.frame_ring import FrameRing


@given(
    sinks=st.integers(0, 4),
    window=st.integers(1, 6),
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=12),
    repeats=st.integers(1, 3),
)
def test_slots_hold_what_a_list_holds(
    sinks: int, window: int, lengths: list[int], repeats: int
) -> None:
    ring = FrameRing(sinks, window)
    slots: dict[int, int] = {}
    kept: list[int] = []
    start = 0
    for length in (min(length, window) for length in lengths):
        frames = list(range(start, start + length))
        for repeat in range(repeats):
            write = ring.write(start, length)
            gone = [slots[eviction.slot] for eviction in write.evictions]
            if repeat == 0:
                kept += frames
                dropped = [kept.pop(sinks) for _ in range(len(kept) - sinks - window)]
                assert gone == dropped == [eviction.frame for eviction in write.evictions]
            else:
                assert gone == []
            for part in write.segments:
                for offset in range(part.frames):
                    slots[part.slot + offset] = frames[part.source + offset]
            assert write.live == len(kept)
            assert [slots[slot] for slot in range(write.live)] == [kept[p] for p in write.order]
        start += length


def test_a_chunk_that_wraps_is_two_segments() -> None:
    ring = FrameRing(0, 5)
    ring.write(0, 3)
    assert ring.write(3, 3).segments == (FrameWrite(0, 3, 2), FrameWrite(2, 0, 1))


def test_writing_the_past_anew_can_leave_the_sink() -> None:
    ring = FrameRing(2, 4)
    for start in range(0, 8, 2):
        ring.write(start, 2)
    write = ring.write(2, 6, keep_sink=True)
    assert write.evictions == ()
    assert sum(part.frames for part in write.segments) == 4
    assert all(part.slot >= 2 for part in write.segments)


@pytest.mark.parametrize(
    ("start", "frames", "message"),
    [
        (5, 1, "expected a call"),
        (1, 1, "expected a call"),
        (4, 4, "does not fit"),
        (4, 0, "expected a call"),
    ],
)
def test_calls_that_make_no_sense(start: int, frames: int, message: str) -> None:
    ring = FrameRing(1, 3)
    ring.write(0, 3)
    ring.write(3, 1)
    with pytest.raises(ValueError, match=message):
        ring.write(start, frames)
    assert ring.end == 4


def test_global_attention_has_an_end() -> None:
    ring = FrameRing(0, 6, rolling=False)
    ring.write(0, 3)
    ring.write(3, 3)
    with pytest.raises(ValueError, match="global attention over 6 frames"):
        ring.write(6, 3)


class PinnedList:
    """LongLive 2's cache as frames in a list, with the pin as an index into it."""

    def __init__(self, sinks: int, capacity: int) -> None:
        self.sinks, self.capacity = sinks, capacity
        self.frames: list[int] = []
        self.start, self.length = -1, 0

    def add(self, frames: list[int]) -> None:
        over = len(self.frames) + len(frames) - self.capacity
        if over > 0:
            prefix = self.sinks + (self.length if self.start == self.sinks else 0)
            del self.frames[prefix : prefix + over]
            if self.start >= prefix:
                self.start -= over
        self.frames += frames

    def pin(self, chunk: int, keep: int) -> None:
        self.start, self.length = len(self.frames) - chunk, min(keep, chunk)


@settings(deadline=None)
@given(
    sinks=st.integers(0, 3),
    chunk=st.integers(1, 3),
    chunks=st.integers(3, 5),
    keep=st.integers(1, 3),
    cuts=st.lists(st.booleans(), min_size=1, max_size=25),
)
def test_pinned_frames_against_a_list(
    sinks: int, chunk: int, chunks: int, keep: int, cuts: list[bool]
) -> None:
    window = chunk * chunks
    ring, plain = FrameRing(sinks, window), PinnedList(sinks, sinks + window)
    slots: dict[int, int] = {}
    for number, cut in enumerate(cuts):
        before = dict(slots)
        start = number * chunk
        for _ in range(2):
            write = ring.write(start, chunk)
            for part in write.segments:
                for offset in range(part.frames):
                    slots[part.slot + offset] = start + part.source + offset
        plain.add(list(range(start, start + chunk)))
        assert [held.frame for held in ring.held] == plain.frames
        assert [slots[slot] for slot in range(write.live)] == [
            plain.frames[place] for place in write.order
        ]
        # Nothing that stays is moved.
        assert all(slots[slot] == frame for slot, frame in before.items() if frame in plain.frames)
        if cut and number:
            ring.pin(chunk, keep)
            plain.pin(chunk, keep)
        copy = FrameRing(sinks, window)
        copy.load(json.loads(json.dumps(ring.metadata())))
        assert copy.held == ring.held
        ring = copy


def test_the_latest_shot_stays_behind_the_sink() -> None:
    ring = FrameRing(2, 6)
    seen: list[list[int]] = []
    for start in range(0, 22, 2):
        ring.write(start, 2)
        if start in (8, 14):
            ring.pin(2, 2)
        seen.append([held.frame for held in ring.held])
    assert seen[6] == [0, 1, 8, 9, 10, 11, 12, 13]
    assert seen[7] == [0, 1, 8, 9, 12, 13, 14, 15]
    # A later shot lets the former go.
    assert seen[8] == [0, 1, 12, 13, 14, 15, 16, 17]
    assert seen[10] == [0, 1, 14, 15, 18, 19, 20, 21]


def test_a_pin_leaves_less_room() -> None:
    ring = FrameRing(1, 4)
    ring.write(0, 3)
    ring.pin(3, 2)
    ring.write(3, 2)
    ring.write(5, 2)
    assert [held.frame for held in ring.held] == [0, 3, 4, 5, 6]
    ring.pin(2, 2)
    ring.write(7, 2)
    assert [held.frame for held in ring.held] == [0, 5, 6, 7, 8]
    with pytest.raises(ValueError, match="does not fit a window of 2"):
        ring.write(9, 3)
