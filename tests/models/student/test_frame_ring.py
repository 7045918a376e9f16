"""Slots of frames against a plain list that drops its oldest."""

from __future__ import annotations

import pytest
from hypothesis import given
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
