"""Streams that take turns on a device, simulated with the server's own policy: who begins when, and
who is late."""

from __future__ import annotations

import random
from collections.abc import Mapping
from itertools import count
from typing import Literal

from .batching import cohort
from .candidate import Candidate
from .phases import Phases
from .scheduler import ModelLoad

Turns = Literal["sliced", "staggered", "batched"]
LATE_SHARE = 0.001
"""Of the chunks of streams that are served in real time, at most."""
_SPREAD, _LEAST, _MOST = 0.08, 0.8, 1.2
_SETTLED, _CHUNKS, _SEEDS = 40, 160, 6


def late_share(
    streams: int, load: ModelLoad, turns: Turns, seed: int, *, chunks: int = _CHUNKS
) -> float:
    """Of chunks that are ready after their viewer ran dry, once streams have settled.

    They start at random; what a chunk or a batch takes varies by a twelfth. "sliced" begins a
    chunk when it is due, "staggered" lets streams take turns, "batched" makes batches where the
    rule of `best_rows` says so.
    """
    draw, phases, chunk_s = random.Random(seed), Phases(), load.chunk_s
    table: Mapping[int, float] = load.table if turns == "batched" else {}
    figures = ModelLoad(load.model, load.step_s, chunk_s, load.slack_s, table)
    shown_s = {f"s{k}": draw.random() * chunk_s for k in range(streams)}
    early_s, made, late = dict.fromkeys(shown_s, 0.0), dict.fromkeys(shown_s, 0), 0
    now_s, rows = 0.0, figures.rows(streams)
    while min(made.values()) < chunks:
        due_s = {name: at_s - early_s[name] for name, at_s in shown_s.items()}
        due = [
            Candidate(s, shown_s[s] + load.slack_s) for s, at_s in due_s.items() if at_s <= now_s
        ]
        coming = [at_s for at_s in due_s.values() if at_s > now_s]
        if not due:
            now_s = min(coming)
            continue
        since_s = min(due_s[each.session_id] for each in due)
        chosen = cohort(due, since_s, coming, rows, table, chunk_s)
        if chosen.again_s is not None:
            now_s = chosen.again_s
            continue
        mates = {name: due_s[name] for name in chosen.sessions}
        takes_s = _takes_s(figures, len(mates))
        for name in mates if turns != "sliced" else ():
            early_s[name] = phases.begin(
                name,
                due_s[name],
                chunk_s=chunk_s,
                step_s=takes_s / len(mates),
                slack_s=load.slack_s,
                mates=mates,
            )
        now_s += takes_s * min(max(draw.gauss(1, _SPREAD), _LEAST), _MOST)
        for name in mates:
            late += made[name] >= _SETTLED and now_s > shown_s[name] + load.slack_s
            shown_s[name] += chunk_s
            made[name] += 1
    return late / max(1, sum(made.values()) - _SETTLED * streams)


def _takes_s(load: ModelLoad, rows: int) -> float:
    """A batch of a size that was not measured takes as long as the next larger one."""
    if rows == 1:
        return load.step_s
    larger = [seconds for size, seconds in load.table.items() if size >= rows]
    return min(larger, default=rows * load.step_s)


def forecast(load: ModelLoad, turns: Turns, *, most: int = 64) -> int:
    """How many streams are served in real time; 0: not even one."""
    for streams in count(1):
        shares = (late_share(streams, load, turns, seed) for seed in range(_SEEDS))
        if streams > most or max(shares) > LATE_SHARE:
            return streams - 1
    raise AssertionError("unreachable")
