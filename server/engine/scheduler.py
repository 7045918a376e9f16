"""Which stream generates next, and whether one more fits: pure policy over figures.

Earliest deadline first is optimal on one machine: if any order serves every viewer in time, this
one does. The streams of a model take turns (`phases`), so none waits for another as long as all of
them together take no longer than a chunk lasts; streams of different models may fall due together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count
from math import ceil

from ..protocol.errors import Capacity
from .batching import best_rows
from .candidate import LONGER, Candidate

RETRY_S = 15.0


class AllTaken(Capacity):
    """There is no place now, and one comes free when a stream ends."""


@dataclass(frozen=True, slots=True)
class ModelLoad:
    """What a model asks of the machine per stream, as measured of late.

    A stream runs dry `slack_s` after its next chunk may be begun. A batch of k chunks takes
    `table[k]`, for those k that were measured.
    """

    model: str
    step_s: float
    chunk_s: float
    slack_s: float
    table: Mapping[int, float] = field(default_factory=dict[int, float], compare=False)
    always: bool = False
    """Whether batches are made wherever there are streams enough."""

    def rows(self, streams: int) -> int:
        """In batches of how many rows so many streams are made, see `best_rows`."""
        if self.always:
            return max((rows for rows in self.table if rows <= streams), default=1)
        return best_rows(streams, self.step_s, self.table, self.chunk_s, self.slack_s)

    def turn_s(self, streams: int) -> float:
        """How long the machine is taken at once, by a chunk or a batch of them."""
        rows = self.rows(streams)
        return self.step_s if rows == 1 else self.table[rows]

    def share_of(self, streams: int) -> float:
        """The part of the machine's time that so many streams take, at worst."""
        rows = self.rows(streams)
        if rows == 1:
            return streams * self.share
        return LONGER * ceil(streams / rows) * self.table[rows] / self.chunk_s

    def of_late(self, streams: int) -> float:
        """The part of the machine's time that so many take, were chunks as long as of late."""
        return self.share_of(streams) / LONGER

    @property
    def share(self) -> float:
        """The part of the machine's time that one stream takes, at worst."""
        return LONGER * self.step_s / self.chunk_s


def pick(candidates: Iterable[Candidate]) -> str | None:
    """The session to step next, or None when there is none."""
    first = min(candidates, key=lambda each: (each.deadline_s, each.session_id), default=None)
    return None if first is None else first.session_id


def admit(
    new: ModelLoad,
    running: Iterable[ModelLoad],
    *,
    max_sessions: int | None,
    frees_in_s: float | None,
) -> None:
    """Raise AllTaken, with the time to retry, unless one more stream fits.

    `max_sessions` replaces the measured limit. The first stream is always admitted, however slow
    the machine. `frees_in_s` is when the next place is known to become free, if it is.
    """
    loads = list(running)
    limit = capacity(new) if max_sessions is None else max_sessions
    fits = in_time([*loads, new]) if max_sessions is None else len(loads) < max_sessions
    if fits or not loads:
        return
    retry_s = RETRY_S if frees_in_s is None else min(RETRY_S, max(1.0, frees_in_s))
    raise AllTaken(f"all places are taken ({len(loads)} of {limit})", retry_after_s=retry_s)


def in_time(loads: Iterable[ModelLoad]) -> bool:
    """Whether every chunk of these streams is there before its viewer runs dry, at worst.

    That is: the machine has the time for all, and a chunk that has to wait for one of each other
    model is made within its slack.
    """
    streams = list(loads)
    by_model = {load.model: load for load in streams}
    counts = Counter(load.model for load in streams)
    turns_s = [load.turn_s(counts[name]) for name, load in by_model.items()]
    together_s = LONGER * sum(turns_s)
    in_turn = sum(load.share_of(counts[name]) for name, load in by_model.items()) <= 1
    return in_turn and all(together_s <= load.slack_s for load in by_model.values())


def capacity(load: ModelLoad) -> int:
    """How many streams of one model fit, at least one."""
    return max(1, free_places(load, [], max_sessions=None))


def free_places(new: ModelLoad, running: Iterable[ModelLoad], *, max_sessions: int | None) -> int:
    """How many more streams `admit` would let in."""
    loads = list(running)
    if max_sessions is not None:
        return max(0, max_sessions - len(loads))
    if not in_time([*loads, new]):
        return 0 if loads else 1
    if new.table:
        return next(more for more in count(1) if not in_time([*loads, *[new] * (more + 1)]))
    left = 1 - sum(load.share for load in loads)
    return max(1, int(left / max(new.share, 1e-4)))
