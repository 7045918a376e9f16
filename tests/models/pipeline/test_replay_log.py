"""How often a stream is saved: as often as that costs little, and never too seldom."""

from __future__ import annotations

import numpy as np
import pytest

from rollcast.models.contract import Controls, StreamRequest
from rollcast.models.pipeline.messages import Open, Restore
from rollcast.models.pipeline.replay_log import MOST_TIMES, SNAPSHOT_CHUNKS, ReplayLog

MOST = MOST_TIMES * SNAPSHOT_CHUNKS


def log() -> ReplayLog:
    return ReplayLog(Open("a.0", StreamRequest()))


@pytest.mark.parametrize(
    ("took_chunks", "every"),
    [(0.0, 16), (0.8, 16), (0.9, 32), (2.4, 48), (5.0, 112), (1000.0, MOST)],
)
def test_a_snapshot_takes_a_twentieth_of_the_time_at_most(took_chunks: float, every: int) -> None:
    stream = log()
    assert stream.wants_snapshot(SNAPSHOT_CHUNKS - 1)
    stream.take_part(15, {"state": memoryview(b"x")}, 1, took_chunks)
    wanted = [index for index in range(16, 400) if stream.wants_snapshot(index)]
    assert wanted[0] == every - 1 + (every if every == 16 else 0)
    assert wanted[1] - wanted[0] == every
    if every < MOST:
        assert took_chunks / every <= 0.05 + 1e-9


def test_all_parts_of_the_latest_whole_snapshot_count() -> None:
    stream = log()
    stream.take_part(15, {"cache.0": memoryview(b"x")}, 2, 2.0)
    assert stream.every == 16, "it is not whole"
    stream.take_part(15, {"prepare": memoryview(b"x")}, 2, 0.4)
    assert stream.every == 48
    for name in ("prepare", "cache.0"):
        stream.take_part(47, {name: memoryview(b"x")}, 2, 0.1)
    assert stream.every == 16, "it found memory"


def test_a_rarer_snapshot_replaces_controls_as_any_other() -> None:
    stream = log()
    for _ in range(50):
        stream.deliver(stream.add(Controls()))
    stream.take_part(15, {"state": memoryview(b"x")}, 1, 2.4)
    start, replay = stream.begin_again()
    assert isinstance(start, Restore) and start.next_index == 16
    assert [index for index, _, _ in replay] == list(range(16, 50))
    stream.take_part(47, {"state": memoryview(b"y")}, 1, 2.4)
    start, replay = stream.begin_again()
    assert isinstance(start, Restore) and start.next_index == 48 and len(replay) == 2


def test_a_chunk_of_a_batch_is_replayed_as_one() -> None:
    stream = log()
    for rows in (1, 4, 4, 2):
        stream.deliver(stream.add(Controls()), rows)
    stream.deliver(1, 1)
    stream.add(Controls())
    _, replay = stream.begin_again()
    assert [rows for _, _, rows in replay] == [1, 4, 4, 2, 1], "the last one is not made yet"
    stream.take_part(1, {"state": memoryview(b"x")}, 1, 0.0)
    _, replay = stream.begin_again()
    assert [(index, rows) for index, _, rows in replay] == [(2, 4), (3, 2), (4, 1)]


def test_video_that_piles_up_brings_the_next_snapshot_sooner() -> None:
    stream = log()
    stream.take_part(15, {"state": memoryview(b"x")}, 1, 1000.0)
    video = np.zeros((8, 480, 832, 3), np.uint8)
    for _ in range(16):
        stream.add(Controls(video=video[:1]))
    assert not stream.wants_snapshot(31)
    for _ in range(32):
        stream.deliver(stream.add(Controls(video=video)))
    assert stream.wants_snapshot(50), "at once"
    assert not stream.wants_snapshot(51), "it was asked for"
    stream.take_part(47, {"state": memoryview(b"x")}, 1, 1000.0)
    assert stream._held_bytes == 0 and not stream.wants_snapshot(63)


def test_snapshots_that_never_become_whole_do_not_pile_up() -> None:
    stream = log()
    for _ in range(200):
        stream.deliver(stream.add(Controls()))
    for index in range(15, 200, 16):
        stream.take_part(index, {"cache.0": memoryview(b"x")}, 2, 0.1)
    assert len(stream._coming) == 2 and stream.settled is None
    stream.take_part(191, {"prepare": memoryview(b"x")}, 2, 0.1)
    assert stream.settled == 191 and not stream._coming
