"""When the next chunk may enter a pipeline, so that none ever waits between its stages.

A pipeline that is fed as fast as it takes fills its links, and a chunk then needs one period for
each stage. Fed once a period of its slowest stage, a chunk needs the sum of its parts: S t + v.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

from .recent import Recent

# a little faster than measured, or the slowest stage would have to wait for its own rounding
_EAGER = 0.97


class Admission:
    """Paces the input of `stages` stages; time is passed in."""

    def __init__(self, stages: int, period_s: float = 0.0, total_s: float = 0.0) -> None:
        self._stages = stages
        self._period = Recent(period_s)
        self._total = Recent(total_s)
        self._last_s = float("-inf")

    @property
    def period_s(self) -> float:
        """Work of the slowest stage for one chunk, of late."""
        return self._period.value

    @property
    def total_s(self) -> float:
        """Work of all stages for one chunk, of late."""
        return self._total.value

    def next_s(self, now_s: float, under_way: int) -> float | None:
        """When a chunk may enter; None: not before one has left.

        A single stage takes the next chunk when it is done with one: nothing is gained by its
        waiting inside, and its controls would be older.
        """
        if self._stages == 1:
            return None if under_way else now_s
        if not under_way:
            # every stage waits, whatever the pace was measured under
            return now_s
        if under_way >= self._most():
            return None
        return max(now_s, self._last_s + _EAGER * self.period_s)

    def admitted(self, now_s: float) -> None:
        """A chunk has entered."""
        self._last_s = now_s

    def observed(self, busy_s: Mapping[int, float]) -> None:
        """A chunk has left after so much work on each stage."""
        self._period.add(max(busy_s.values()))
        self._total.add(sum(busy_s.values()))

    def _most(self) -> int:
        """Chunks under way that keep the slowest stage at work, and one more."""
        if not self.period_s:
            return self._stages + 1
        return min(self._stages, ceil(self.total_s / self.period_s - 1e-6)) + 1
