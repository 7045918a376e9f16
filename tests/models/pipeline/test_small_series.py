"""When a small snapshot can be gone on from: once the chunks that rebuild its caches were made."""

from __future__ import annotations

import pytest

from rollcast.models.contract import Controls, StreamRequest
from rollcast.models.pipeline.messages import Open, Restore
from rollcast.models.pipeline.replay_log import ReplayLog
from rollcast.models.pipeline.small_series import SHOWN_LATER, SmallSeries

PART = {"prepare": memoryview(b"x")}


@pytest.mark.parametrize(("rebuild", "from_chunk"), [(0, 3), (10, 3 + 10 + SHOWN_LATER)])
def test_the_newest_old_enough_is_told_once(rebuild: int, from_chunk: int) -> None:
    series = SmallSeries(4, rebuild)
    assert [index for index in range(12) if series.wants(index)] == [3, 7, 11]
    series.take(3, PART, 2)
    assert series.ripe(99) is None, "the other stage's part is still to come"
    series.take(3, {"cache.0": memoryview(b"y")}, 2)
    series.take(7, PART, 1)
    assert series.ripe(from_chunk - 1) is None
    ripe = series.ripe(from_chunk)
    assert ripe is not None and ripe[0] == 3 and ripe[1].keys() == {"prepare", "cache.0"}
    assert series.ripe(from_chunk + 3) is None
    later = series.ripe(from_chunk + 4)
    assert later is not None and later[0] == 7


def test_each_is_told_of_at_once_with_what_may_be_shown_behind_it() -> None:
    series = SmallSeries(2, 6)
    series.take(1, PART, 1)
    series.take(3, PART, 1)
    assert series.newest(0) is None, "its chunk has not come out"
    newest = series.newest(2)
    assert newest is not None and newest[0] == 1 and series.shown_from(1) == 8
    assert series.newest(2) is None
    newest = series.newest(9)
    assert newest is not None and newest[0] == 3
    ripe = series.ripe(9)
    assert ripe is not None and ripe[0] == 1, "to be gone on from it is too young"


def test_parts_of_one_that_never_becomes_whole_do_not_pile_up() -> None:
    series = SmallSeries(1)
    for index in range(50):
        series.take(index, PART, 2)
    assert len(series._coming) == 2


def test_a_log_that_is_not_exact_goes_on_from_small_ones() -> None:
    log = ReplayLog(Open("a.0", StreamRequest()), exact=False, small=SmallSeries(4, 6))
    for index in range(16):
        log.add(Controls())
        assert not log.wants_snapshot(index)
        if log.wants_small(index):
            log.take_small(index, PART, 1)
        log.deliver(index)
    start, replay = log.begin_again()
    assert isinstance(start, Restore) and start.small and start.next_index == 8
    assert [index for index, _, _ in replay] == list(range(8, 16))
    assert not log.goes_on_exactly


def test_an_exact_log_only_tells_of_small_ones() -> None:
    log = ReplayLog(Open("a.0", StreamRequest()), small=SmallSeries(4))
    for _ in range(6):
        log.deliver(log.add(Controls()))
    log.take_small(3, PART, 1)
    assert log.newly_saved() == (3, {"prepare": b"x"}, 4) and log.newly_saved() is None
    start, replay = log.begin_again()
    assert isinstance(start, Open) and len(replay) == 6 and log.goes_on_exactly


def test_a_log_that_tells_of_whole_ones_tells_of_each_once_its_chunk_has_come_out() -> None:
    log = ReplayLog(Open("a.0", StreamRequest()), snapshot_chunks=4, tells_whole=True)
    for _ in range(4):
        log.deliver(log.add(Controls()))
    log.add(Controls())
    assert not log.wants_small(3) and log.wants_snapshot(3)
    log.take_part(4, PART, 1)
    assert log.newly_saved() is None, "chunk 4 is under way"
    log.deliver(4)
    assert log.newly_saved() == (4, {"prepare": b"x"}, 5) and log.newly_saved() is None
