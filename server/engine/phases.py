"""Where in the time of a chunk each stream of a model begins its chunks, so that they take turns.

Streams that fall due together wait for each other: two that take 67 ms of a chunk of 160 ms are
late by turns, although the machine is idle for a sixth of the time. Spread over the chunk's time
each finds the machine free. A stream is moved by its lead: with more of it its chunks are begun
earlier. Each moves towards the middle between its neighbours, which spreads any number of them
evenly (DESYNC: Degesys, Rose, Patel and Nagpal, IPSN 2007).
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass

MOST_MOVED = 0.1
"""Of a chunk's time, by each chunk: a viewer's lead changes without a jump."""
PULL = 0.5
"""How far towards the middle a stream is moved at once."""
EASE = 0.02
"""Of a chunk's time, by each chunk: what all streams have of extra lead is given up again."""
CROWDED_SHARE = 0.8
"""Streams take turns where all of them, due at once, would use up this part of the slack."""


STALE_CHUNKS = 2.0
"""A stream that began none for so many chunks' time takes no turn: it is paused, cut or closed."""


@dataclass(slots=True)
class _Phase:
    due_s: float
    early_s: float = 0.0


class Phases:
    """The streams of one model that make chunks, and when the latest of each was due."""

    def __init__(self) -> None:
        self._phases: dict[str, _Phase] = {}

    def begin(
        self,
        stream: str,
        due_s: float,
        *,
        chunk_s: float,
        step_s: float,
        slack_s: float,
        mates: Mapping[str, float] | None = None,
    ) -> float:
        """A stream begins a chunk that was due at `due_s`; its extra lead from now on, in seconds.

        A chunk lasts `chunk_s` and takes the machine `step_s`. A stream without extra lead runs
        dry `slack_s` after its chunk was due. `mates` are the streams of its batch, itself
        included, and when each was due: they come to be due with the first of them, and as one
        keep their distance from all others.
        """
        together = mates or {stream: due_s}
        since_s = due_s - STALE_CHUNKS * chunk_s
        self._phases = {k: each for k, each in self._phases.items() if each.due_s > since_s}
        own = self._phases.setdefault(stream, _Phase(due_s))
        own.due_s = due_s
        most_s = MOST_MOVED * chunk_s
        if len(together) < 2 and len(self._phases) * step_s <= CROWDED_SHARE * slack_s:
            own.early_s = max(0.0, own.early_s - most_s)
            return own.early_s
        first_s = min(together.values())
        away_s = self._to_the_middle(stream, first_s, together, chunk_s)
        later_s = PULL * (away_s - (due_s - first_s))
        spare_s = min(each.early_s for each in self._phases.values())
        moved_s = min(max(-later_s, -most_s), most_s) - min(spare_s, EASE * chunk_s)
        own.early_s = min(max(0.0, own.early_s + moved_s), chunk_s)
        return own.early_s

    def _to_the_middle(
        self, stream: str, due_s: float, mates: Container[str], chunk_s: float
    ) -> float:
        """How much later it would have to be due for equal distances; less than 0: earlier."""
        after_s = before_s = chunk_s
        for name, other in self._phases.items():
            if name in mates:
                continue
            distance_s = (other.due_s - due_s) % chunk_s
            if distance_s == 0.0 and name < stream:
                # both are due at the same moment: their names say who goes first
                distance_s = chunk_s
            after_s, before_s = min(after_s, distance_s), min(before_s, chunk_s - distance_s)
        return (after_s - before_s) / 2
