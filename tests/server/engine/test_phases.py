"""Streams of a model take turns: simulated, for the machine's clock has no say in it."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollcast.server.engine.phases import MOST_MOVED, Phases
from rollcast.server.engine.scheduler import LONGER, Candidate, pick

LEAD_CHUNKS = 1.7
POCKET = (0.067, 0.16, 2)
"""Seconds for a chunk, of a chunk, and streams."""
WAN_CHUNKS = (0.33, 0.75, 2)
WAN_FRAMES = (0.055, 0.25, 4)


def late_share(
    figures: tuple[float, float, int], seed: int, *, turns: bool, chunks: int = 120
) -> float:
    """Of chunks that were ready after their viewer ran dry, once the streams have settled.

    Streams start at random; a chunk takes a twelfth more or less than as a rule.
    """
    step_s, chunk_s, count = figures
    draw, phases, slack_s = random.Random(seed), Phases(), (LEAD_CHUNKS - 1) * chunk_s
    next_s = {f"s{k}": draw.random() * chunk_s for k in range(count)}
    early_s, made, late = dict.fromkeys(next_s, 0.0), dict.fromkeys(next_s, 0), 0
    now_s = 0.0
    while min(made.values()) < chunks:
        due = [name for name, at in next_s.items() if at - early_s[name] <= now_s]
        chosen = pick(Candidate(name, next_s[name] + slack_s) for name in due)
        if chosen is None:
            now_s = min(at - early_s[name] for name, at in next_s.items())
            continue
        if turns:
            at_s = next_s[chosen] - early_s[chosen]
            early_s[chosen] = phases.begin(
                chosen, at_s, chunk_s=chunk_s, step_s=step_s, slack_s=slack_s
            )
        now_s += step_s * min(max(draw.gauss(1, 0.08), 0.8), 1.2)
        late += made[chosen] >= 30 and now_s > next_s[chosen] + slack_s
        next_s[chosen] += chunk_s
        made[chosen] += 1
    return late / (sum(made.values()) - 30 * count)


@pytest.mark.parametrize("figures", [POCKET, WAN_CHUNKS, WAN_FRAMES])
def test_who_takes_turns_is_never_late_though_random_starts_are(
    figures: tuple[float, float, int],
) -> None:
    by_chance = [late_share(figures, seed, turns=False) for seed in range(20)]
    assert max(by_chance) > 0.2
    assert max(late_share(figures, seed, turns=True) for seed in range(20)) == 0.0


@settings(max_examples=30)
@given(st.integers(2, 12), st.integers(0, 10_000))
def test_any_number_of_streams_spreads_evenly_and_in_small_moves(count: int, seed: int) -> None:
    draw, phases = random.Random(seed), Phases()
    natural_s = {f"s{k}": draw.choice([0.0, draw.random()]) for k in range(count)}
    early_s = dict.fromkeys(natural_s, 0.0)
    step_s = 1 / (LONGER * count)
    for chunk in range(300):
        for name in sorted(natural_s, key=lambda name: natural_s[name] - early_s[name]):
            due_s = natural_s[name] - early_s[name] + chunk
            moved = phases.begin(name, due_s, chunk_s=1.0, step_s=step_s, slack_s=0.7)
            assert 0.0 <= moved <= 1.0
            assert abs(moved - early_s[name]) <= MOST_MOVED + 0.02
            early_s[name] = moved
    places = sorted((natural_s[name] - early_s[name]) % 1.0 for name in natural_s)
    gaps = [b - a for a, b in zip(places, [*places[1:], places[0] + 1.0], strict=True)]
    assert min(gaps) > 0.9 / count, gaps


def test_streams_that_disturb_nobody_keep_the_usual_lead() -> None:
    phases = Phases()
    for chunk in range(40):
        for name in "abc":
            assert phases.begin(name, chunk * 0.16, chunk_s=0.16, step_s=0.02, slack_s=0.112) == 0.0


def test_extra_lead_wears_off_when_the_others_are_gone() -> None:
    phases = Phases()
    early_s = {"a": 0.0, "b": 0.0}
    for chunk in range(20):
        for name in "ab":
            due_s = chunk * 0.16 - early_s[name]
            early_s[name] = phases.begin(name, due_s, chunk_s=0.16, step_s=0.067, slack_s=0.112)
    assert max(early_s.values()) > 0.05
    name = max(early_s, key=lambda each: early_s[each])
    for chunk in range(30, 50):
        due_s = chunk * 0.16 - early_s[name]
        early_s[name] = phases.begin(name, due_s, chunk_s=0.16, step_s=0.067, slack_s=0.112)
    assert early_s[name] == 0.0
