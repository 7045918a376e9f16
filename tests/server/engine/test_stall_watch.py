"""A process that stood still knows it as soon as it reads what has waited."""

from rollcast.server.engine.stall_watch import StallWatch


def test_a_beat_that_is_late_was_a_stall() -> None:
    watch = StallWatch(10.0)
    assert watch.beat(10.1) == 0
    assert watch.beat(55.1) == 45
    assert watch.beat(55.2) == 0
    assert watch.stalled_s(55.3) == 45


def test_what_is_read_before_the_first_beat_knows_of_the_stall() -> None:
    watch = StallWatch(10.0)
    assert watch.stalled_s(10.4) == 0
    assert watch.stalled_s(55.0) == 45
    watch.beat(55.0)
    assert watch.stalled_s(55.0) == 45
