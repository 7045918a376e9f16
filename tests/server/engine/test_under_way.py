"""Counts of steps under way."""

from __future__ import annotations

from rollcast.server.engine.under_way import UnderWay


def test_steps_are_counted_by_stream() -> None:
    under_way = UnderWay()
    for name in "aab":
        under_way.add(name)
    assert (under_way.total, under_way.of("a"), under_way.of("c")) == (3, 2, 0)
    under_way.done("a")
    under_way.done("b")
    assert (under_way.total, under_way.of("a")) == (1, 1)


def test_what_comes_back_of_a_forgotten_stream_changes_nothing() -> None:
    under_way = UnderWay()
    under_way.add("a")
    under_way.add("b")
    under_way.forget("a")
    under_way.done("a")
    assert under_way.total == 1
    under_way.clear()
    under_way.done("b")
    assert under_way.total == 0
