"""Samples by number: whatever is let go of, the others keep their numbers."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rollcast.server.session.sample_row import SampleRow

steps = st.lists(
    st.tuples(st.sampled_from(["add", "add", "cut", "forget"]), st.integers(0, 40)), max_size=20
)


@given(steps, st.integers(0, 200))
def test_what_is_held_is_what_was_added_there(what: list[tuple[str, int]], since: int) -> None:
    row, value = SampleRow(), 0
    kept: dict[int, int] = {}
    for name, number in what:
        if name == "add":
            row.add(np.arange(value + 1, value + number + 1).astype(np.int16))
            kept |= {at: at + 1 for at in range(value, value + number)}
            value += number
        elif name == "cut":
            row.cut(max(0, value - number))
            kept = {at: each for at, each in kept.items() if at < value - number}
        else:
            row.forget(number)
            first = min((a for a, b in row.held if b > number), default=value)
            assert first <= number or not any(at == number for at in kept)
            kept = {at: each for at, each in kept.items() if at >= first}
    assert row.end == value
    assert [at for a, b in row.held for at in range(a, b)] == sorted(kept)
    wanted = np.array([kept.get(at, 0) for at in range(value)], np.int16)
    assert np.array_equal(row.part(0, value), wanted)
    assert row.byte_count == 2 * len(kept)
    told = {first + n: int(x) for first, part in row.since(since) for n, x in enumerate(part)}
    assert told == {at: each for at, each in kept.items() if at >= since}
    other = SampleRow()
    for first, part in row.since(0):
        other.add(part, first)
    half = [(a, (a + b) // 2) for a, b in row.held]
    other.keep(half)
    assert other.held == [(a, b) for a, b in half if a < b]
    assert all(np.array_equal(other.part(a, b), row.part(a, b)) for a, b in half)
