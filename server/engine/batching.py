"""Slice or batch: how many streams of a model make their chunks together, and which; pure policy.

Sliced, k chunks end at t, 2 t, .. k t; as a batch that gains g all of them end at k t / g. So a
batch is the better one on the average only where g > 2 k / (k + 1), and otherwise only where there
is no time for all of them one by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from .batch_table import gain
from .candidate import LONGER, Candidate

WAIT_SHARE = 0.2
"""Of a chunk's time a stream that is due waits for others at most."""
MARGIN_SHARE = 0.1
"""Of a chunk's time a batch is to end before the first of its viewers runs dry."""


def best_rows(
    streams: int, alone_s: float, table: Mapping[int, float], chunk_s: float, slack_s: float
) -> int:
    """Rows of the batches that `streams` streams are made in; 1: one by one.

    A chunk lasts `chunk_s` and takes `alone_s` alone, a batch of k rows `table[k]`; a stream runs
    dry `slack_s` after its chunk was due.
    """
    fitting = [
        rows
        for rows, seconds in table.items()
        if 2 <= rows <= streams and LONGER * seconds <= slack_s
    ]
    gains = {rows: gain(rows, alone_s, table[rows]) for rows in fitting}
    if LONGER * streams * alone_s <= chunk_s:
        better = [rows for rows in fitting if gains[rows] > 2 * rows / (rows + 1)]
        return max(better, key=gains.__getitem__, default=1)
    for rows in sorted(fitting):
        if LONGER * ceil(streams / rows) * table[rows] <= chunk_s:
            return rows
    most = max(fitting, key=gains.__getitem__, default=1)
    return most if most > 1 and gains[most] > 1 else 1


@dataclass(frozen=True, slots=True)
class Cohort:
    """Who makes a chunk now, most urgent first; nobody: ask again at `again_s`."""

    sessions: tuple[str, ...]
    again_s: float | None = None


def cohort(
    due: Sequence[Candidate],
    due_since_s: float,
    coming_s: Sequence[float],
    rows: int,
    table: Mapping[int, float],
    chunk_s: float,
) -> Cohort:
    """Earliest deadline first, and with it those that are due as well, up to `rows`.

    `coming_s` is when others become due. The next one of them is waited for, unless the first
    viewer would then run dry or somebody who is due, since `due_since_s`, waited too long.
    """
    ordered = sorted(due, key=lambda each: (each.deadline_s, each.session_id))
    taken = ordered[:rows]
    if 0 < len(taken) < rows and coming_s:
        bigger = min((k for k in table if k > len(taken)), default=rows)
        until_s = min(
            ordered[0].deadline_s - LONGER * table.get(bigger, 0.0) - MARGIN_SHARE * chunk_s,
            due_since_s + WAIT_SHARE * chunk_s,
        )
        if min(coming_s) <= until_s:
            return Cohort((), min(coming_s))
    return Cohort(tuple(each.session_id for each in taken))
