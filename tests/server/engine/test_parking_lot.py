"""What parked streams take of memory and disk is never more than they may."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from rollcast.server.engine.parking_lot import ParkingLot


def test_memory_first_then_disk_and_what_is_shown_last_stays_in_memory() -> None:
    lot = ParkingLot(100, 150)
    assert lot.take("a", 60, 10) == "memory"
    assert lot.take("b", 40, 10) == "disk", "30 are left"
    assert lot.take("c", 15, 5) == "memory"
    assert (lot.used("memory"), lot.used("disk")) == (100, 40)
    assert lot.take("d", 1, 1) is None, "no memory for what it showed last"
    lot.free("a")
    lot.free("nobody")
    assert lot.take("d", 111, 1) is None, "110 are left on disk, and 70 in memory"
    assert lot.take("d", 110, 1) == "disk"
    assert (lot.count("memory"), lot.count("disk")) == (1, 2)


def test_without_memory_nobody_is_parked() -> None:
    assert not ParkingLot(0, 10**9).is_open
    assert ParkingLot(0, 10**9).take("a", 0, 0) is None


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.booleans(), st.integers(0, 60), st.integers(0, 20)),
        max_size=40,
    )
)
def test_whatever_comes_and_goes_no_more_is_taken_than_there_is(
    events: list[tuple[int, bool, int, int]],
) -> None:
    lot = ParkingLot(100, 80)
    held: dict[int, tuple[str, int, int]] = {}
    for name, leaves, saved, kept in events:
        if name in held or leaves:
            lot.free(str(name))
            held.pop(name, None)
        elif (where := lot.take(str(name), saved, kept)) is not None:
            held[name] = (where, saved, kept)
        on_disk = sum(saved for where, saved, _ in held.values() if where == "disk")
        whole = sum(saved + kept for _, saved, kept in held.values())
        assert (lot.used("memory"), lot.used("disk")) == (whole - on_disk, on_disk)
        assert lot.used("memory") <= 100 and lot.used("disk") <= 80
