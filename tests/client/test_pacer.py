"""Media time on a clock that stalls move and nothing else."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollcast.client.pacer import Pacer

FRAME_US = 40_000


def shown_at(arrivals_s: list[float]) -> list[float]:
    """When each frame is shown, given when each came."""
    pacer, now_s, shown = Pacer(), 0.0, []
    for number, arrived_s in enumerate(arrivals_s):
        now_s = max(now_s, arrived_s)
        now_s += max(0.0, pacer.early_s(number * FRAME_US, now_s))
        shown.append(now_s)
    return shown


def test_what_came_early_waits_for_its_time() -> None:
    assert shown_at([0.0] * 4) == pytest.approx([0.0, 0.04, 0.08, 0.12])


def test_a_stall_moves_all_that_follows() -> None:
    assert shown_at([0.0, 0.5, 0.5, 0.5]) == pytest.approx([0.0, 0.5, 0.54, 0.58])


def test_a_little_late_moves_nothing() -> None:
    assert shown_at([0.0, 0.055, 0.055]) == pytest.approx([0.0, 0.055, 0.08])


@given(st.lists(st.floats(0, 0.3), min_size=2, max_size=30))
def test_nothing_comes_in_a_burst(waits_s: list[float]) -> None:
    arrivals_s = [sum(waits_s[: k + 1]) for k in range(len(waits_s))]
    shown = shown_at(arrivals_s)
    gaps = [b - a for a, b in pairwise(shown)]
    assert all(gap > 0.04 - 0.02 - 1e-9 for gap in gaps)
    assert all(at_s >= came_s for at_s, came_s in zip(shown, arrivals_s, strict=True))
