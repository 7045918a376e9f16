"""When the next chunk may enter a pipeline, so that none ever waits between its stages.

A pipeline that is fed as fast as it takes fills its links, and a chunk then needs one period for
each stage. Fed once a period of its slowest stage, a chunk needs the sum of its parts: S t + v.

A single stage on a GPU is given the next chunk shortly before it is done with one, or it would idle
while frames are copied, told of and answered. Earlier than that a chunk's controls would only be
older.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import ceil

from .recent import Recent

# a little faster than measured, or the slowest stage would have to wait for its own rounding
_EAGER = 0.97
# Of a chunk's time, or seconds if that is more, by which a single stage is given the next one
# before the device is done: the host has to prepare it, and a machine is not always on time.
_AHEAD_SHARE = 0.2
_AHEAD_S = 0.01
_MOST_AHEAD = 2


class Admission:
    """Paces the input of `stages` stages; time is passed in.

    A turn is a chunk or a batch of them. With `ahead` a single stage can be given one while the
    frames of another are on their way.
    """

    def __init__(
        self, stages: int, period_s: float = 0.0, total_s: float = 0.0, *, ahead: bool = False
    ) -> None:
        self._stages = stages
        self._ahead = ahead and stages == 1
        self._period = Recent(period_s)
        self._total = Recent(total_s)
        self._last_s = float("-inf")
        self._left_s = float("-inf")
        self._turn_s: dict[int, Recent] = {}
        """How long the device took for turns of so many chunks."""
        self._turns: dict[float, int] = {}
        """How many chunks each has that has not left, by when it was admitted."""
        self._again_s = float("-inf")
        """When one more may begin beside the one that is under way."""

    @property
    def period_s(self) -> float:
        """Work of the slowest stage for one chunk, of late."""
        return self._period.value

    @property
    def total_s(self) -> float:
        """Work of all stages for one chunk, of late."""
        return self._total.value

    @property
    def most_turns(self) -> int:
        """Turns that may be under way at once before the first of them is finished."""
        if self._stages == 1:
            return _MOST_AHEAD if self._ahead else 1
        return self._stages + 1

    def next_s(self, now_s: float, under_way: int) -> float | None:
        """When a turn may begin, with so many `under_way`; None: not before one has left.

        A single stage takes the next one when it is done with one, or nearly: nothing is gained by
        its waiting inside, and its controls would be older.
        """
        if not under_way:
            # every stage waits, whatever the pace was measured under
            return now_s
        if self._stages == 1:
            if under_way >= self.most_turns:
                return None
            return max(now_s, self._again_s)
        if under_way >= self._most():
            return None
        return max(now_s, self._last_s + _EAGER * self.period_s)

    def admitted(self, now_s: float, rows: int = 1) -> None:
        """A turn of so many chunks has begun."""
        self._last_s = now_s
        if self._stages == 1:
            self._turns[now_s] = rows
            self._expect()

    def left(self, begin_s: float, now_s: float) -> None:
        """The turn that was admitted at `begin_s` is over, its frames are here."""
        rows = self._turns.pop(begin_s, None)
        if rows is not None:
            self._turn_of(rows).add(now_s - max(begin_s, self._left_s))
            self._left_s = now_s
            self._expect()

    def keep(self, begun_s: Collection[float]) -> None:
        """Turns that were admitted at other times than these will not be heard of."""
        self._turns = {at_s: rows for at_s, rows in self._turns.items() if at_s in begun_s}
        self._expect()

    def _expect(self) -> None:
        """See when the device will be done with the turn that it is at."""
        for begin_s, rows in self._turns.items():
            turn_s = self._turn_of(rows).value
            done_s = max(begin_s, self._left_s) + turn_s
            self._again_s = done_s - max(_AHEAD_SHARE * turn_s, _AHEAD_S)
            return

    def measured(self, period_s: float, total_s: float) -> None:
        """The slowest stage, and all of them, take so long for a chunk."""
        self._period, self._total = Recent(period_s), Recent(total_s)

    def observed(self, busy_s: Mapping[int, float]) -> None:
        """A chunk has left after so much work on each stage."""
        self._period.add(max(busy_s.values()))
        self._total.add(sum(busy_s.values()))

    def _turn_of(self, rows: int) -> Recent:
        return self._turn_s.setdefault(rows, Recent(self.total_s))

    def _most(self) -> int:
        """Chunks under way that keep the slowest stage at work, and one more."""
        if not self.period_s:
            return self._stages + 1
        return min(self._stages, ceil(self.total_s / self.period_s - 1e-6)) + 1
