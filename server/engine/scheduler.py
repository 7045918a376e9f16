"""Which stream generates next, and whether one more fits: pure policy over figures.

Earliest deadline first is optimal on one machine: if any order serves every viewer in time, this
one does. The share of the machine that a stream needs is its step time over its chunk's duration.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..protocol.errors import Capacity

USABLE_SHARE = 0.85
RETRY_S = 15.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A stream that may start a chunk now; its viewer runs dry at `deadline_s`."""

    session_id: str
    deadline_s: float


@dataclass(frozen=True, slots=True)
class ModelLoad:
    """What a model asks of the machine per stream, as measured of late."""

    step_s: float
    chunk_s: float

    @property
    def share(self) -> float:
        """The part of the machine's time that one stream takes."""
        return self.step_s / self.chunk_s


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
    """Raise Capacity, with the time to retry, unless one more stream fits.

    `max_sessions` replaces the measured limit. The first stream is always admitted, however slow
    the machine. `frees_in_s` is when the next place is known to become free, if it is.
    """
    loads = list(running)
    limit = capacity(new) if max_sessions is None else max_sessions
    busy = sum(load.share for load in loads) + new.share > USABLE_SHARE
    full = busy if max_sessions is None else len(loads) >= max_sessions
    if not loads or not full:
        return
    retry_s = RETRY_S if frees_in_s is None else min(RETRY_S, max(1.0, frees_in_s))
    raise Capacity(f"all places are taken ({len(loads)} of {limit})", retry_after_s=retry_s)


def capacity(load: ModelLoad) -> int:
    """How many streams of one model fit, at least one."""
    return max(1, int(USABLE_SHARE / max(load.share, 1e-4)))


def free_places(new: ModelLoad, running: Iterable[ModelLoad], *, max_sessions: int | None) -> int:
    """How many more streams `admit` would let in."""
    loads = list(running)
    if max_sessions is not None:
        return max(0, max_sessions - len(loads))
    left = USABLE_SHARE - sum(load.share for load in loads)
    return max(0 if loads else 1, int(left / max(new.share, 1e-4)))
