"""Chunks of all streams on their way into the stages, and those that are inside.

Chunks that were admitted as one batch are one turn of a single stage; several stages have a turn
for each.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..contract import Controls
from .admission import Admission


class Queued(NamedTuple):
    """A chunk that waits to be admitted: with others of its `batch`, 0: alone."""

    stream: str
    index: int
    controls: Controls
    rows: int = 1
    batch: int = 0


class TurnQueue:
    """The queue before `stages` stages, at the pace of an `Admission`; time is passed in.

    One thread calls it, but `next_s`, which any may.
    """

    def __init__(self, stages: int) -> None:
        self._stages = stages
        self.admission = Admission(stages)
        self._queue: deque[Queued] = deque()
        self._under_way: dict[tuple[str, int], float] = {}
        """When each chunk inside was admitted."""
        # How many turns are under way, and how many chunks they have: one value, for any thread.
        self._turns = (0, 0)

    def __len__(self) -> int:
        """Chunks that the pace does not let in yet."""
        return len(self._queue)

    @property
    def turns(self) -> int:
        """Turns that are under way."""
        return self._turns[0]

    def next_s(self, now_s: float, under_way: int | None = None) -> float | None:
        """When the pace lets one more turn in; None: not before one has left.

        `under_way`: how many chunks the caller handed over. What is not admitted yet of them is a
        turn each, for all that is known.
        """
        turns, chunks = self._turns
        ahead = 0 if under_way is None else max(0, under_way - chunks)
        return self.admission.next_s(now_s, turns + ahead)

    def extend(self, chunks: Iterable[Queued]) -> None:
        """Let them wait behind all others."""
        self._queue.extend(chunks)

    def take(self, now_s: float) -> Sequence[Queued]:
        """The next turn, if the pace allows it now: admitted from here on; else nothing."""
        if not self._queue:
            return ()
        next_s = self.next_s(now_s)
        if next_s is None or next_s > now_s:
            return ()
        batch = [self._queue.popleft()]
        while batch[0].batch and self._queue and self._queue[0].batch == batch[0].batch:
            batch.append(self._queue.popleft())
        self._under_way |= {(each.stream, each.index): now_s for each in batch}
        self._count()
        self.admission.admitted(now_s, len(batch))
        return batch

    def left(self, stream: str, index: int, now_s: float) -> float | None:
        """A chunk came out: when it was admitted, None if it is no longer waited for."""
        begin_s = self._under_way.pop((stream, index), None)
        if begin_s is None:
            return None
        if begin_s not in self._under_way.values():
            self.admission.left(begin_s, now_s)
        self._count()
        return begin_s

    def forget(self, stream: str) -> None:
        """Nothing of this stream is waited for."""
        self._queue = deque(each for each in self._queue if each.stream != stream)
        self._under_way = {k: v for k, v in self._under_way.items() if k[0] != stream}
        self._count()

    def clear(self) -> None:
        """The stages are new: nothing is inside, nothing waits."""
        self._queue.clear()
        self._under_way.clear()
        self._count()

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits and nothing is inside."""
        return not self._queue and not self._under_way

    def _count(self) -> None:
        begun_s, chunks = set(self._under_way.values()), len(self._under_way)
        self._turns = len(begun_s) if self._stages == 1 else chunks, chunks
        self.admission.keep(begun_s)
