"""Media time with a fake clock: bursts are spread out, stalls wait, unread media is bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollcast.client.playhead import Playhead
from rollcast.client.shown import Frame

FRAME_US = 40_000.0


def frame(seq: int) -> Frame:
    return Frame(
        seq=seq,
        pts_us=seq * FRAME_US,
        chunk=seq // 4,
        is_key=False,
        is_last_of_chunk=seq % 4 == 3,
        is_discontinuous=False,
        server_ms=0.0,
        arrived_s=0.0,
        bytes=1,
        pixels=None,
    )


def shown(playhead: Playhead) -> list[int]:
    seqs = []
    while (media := playhead.read()) is not None:
        assert isinstance(media, Frame)
        seqs.append(media.seq)
    return seqs


def test_frames_that_wait_for_their_time_do_not_wait_for_a_decoder() -> None:
    """A server leaves every second frame out for who says so of more than two chunks."""
    playhead = Playhead("clock", FRAME_US)
    for seq in range(12):
        playhead.arrived(frame(seq), 0.0)
    assert playhead.ack().decode_queue == 0 and shown(playhead) == [0]


def test_a_burst_is_shown_frame_by_frame() -> None:
    playhead = Playhead("clock", FRAME_US)
    for seq in range(4):
        playhead.arrived(frame(seq), now_s=10.0)
    assert shown(playhead) == [0]
    playhead.advance(10.05)
    assert shown(playhead) == [1]
    playhead.advance(10.13)
    assert shown(playhead) == [2, 3]
    assert playhead.ack().last_seq == 3


def test_next_due_is_the_next_frame() -> None:
    playhead = Playhead("clock", FRAME_US)
    playhead.arrived(frame(0), now_s=1.0)
    assert playhead.next_due_s() is None
    playhead.arrived(frame(1), now_s=1.01)
    assert playhead.next_due_s() == pytest.approx(1.04)


def test_a_stall_stops_media_time_and_does_not_skip() -> None:
    playhead = Playhead("clock", FRAME_US)
    playhead.arrived(frame(0), now_s=0.0)
    playhead.advance(5.0)
    assert playhead.ack().playhead_us == FRAME_US
    playhead.arrived(frame(1), now_s=5.0)
    playhead.arrived(frame(2), now_s=5.0)
    assert shown(playhead) == [0, 1]


def test_unread_frames_are_dropped_oldest_first_and_counted() -> None:
    playhead = Playhead("clock", FRAME_US, keep=3)
    for seq in range(10):
        playhead.arrived(frame(seq), now_s=seq * 0.04)
    playhead.advance(1.0)
    assert shown(playhead) == [7, 8, 9]
    assert playhead.ack().dropped == 7


def test_a_reader_moves_media_time_itself() -> None:
    playhead = Playhead("reader", FRAME_US)
    for seq in range(6):
        playhead.arrived(frame(seq), now_s=0.0)
    playhead.advance(100.0)
    assert playhead.ack().playhead_us == 0
    assert playhead.ack().last_seq == -1
    assert shown(playhead) == list(range(6))
    assert playhead.ack().playhead_us == 6 * FRAME_US
    assert playhead.ack().last_seq == 5


@given(st.lists(st.tuples(st.floats(0, 0.3), st.integers(0, 6)), max_size=40))
def test_media_time_never_goes_back_nor_past_what_came(steps: list[tuple[float, int]]) -> None:
    playhead = Playhead("clock", FRAME_US)
    now_s, seq, before_us, seen = 0.0, 0, 0.0, []
    for wait_s, arriving in steps:
        now_s += wait_s
        for _ in range(arriving):
            playhead.arrived(frame(seq), now_s)
            seq += 1
        playhead.advance(now_s)
        position_us = playhead.ack().playhead_us
        assert before_us <= position_us <= seq * FRAME_US
        before_us = position_us
        seen += shown(playhead)
    assert seen == list(range(len(seen)))
