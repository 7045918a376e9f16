"""How long batches take, found out while nobody needs the model: a batch at a time, with streams
of its own, and given up as soon as somebody comes."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

from ..contract import ModelInfo

IDLE_S = 5.0
"""So long after the model was last used it is measured."""
_ROUNDS, _TIMED = 9, 3
_SLACK = 0.7
"""Of a chunk's time: what takes longer than this cannot be played at the usual lead."""
_WORTH = 1.03
"""Twice the rows have to make chunks so many times as fast."""


@dataclass(slots=True)
class BatchProbe:
    """What is measured next, of batches of 2, 4, .. up to `most_rows`; time is passed in.

    `alone_s` is what a chunk takes that is made alone. It is at the round `round_` of a batch of
    `rows`: caches fill before the last rounds are timed.
    """

    info: ModelInfo
    alone_s: float
    most_rows: int
    rows: int = 2
    round_: int = 0
    _gain: float = 1.0
    _times_s: list[float] = field(default_factory=list)

    @property
    def over(self) -> bool:
        """Whether all is known that is worth it."""
        return self.rows > self.most_rows

    @property
    def streams(self) -> tuple[str, ...]:
        """Names of its streams, which no session's can be."""
        return tuple(f"(probe {k})" for k in range(self.rows))

    def took(self, seconds: float) -> float | None:
        """A round is over; what the batch takes, once it was timed often enough."""
        self.round_ += 1
        if self.round_ > _ROUNDS - _TIMED:
            self._times_s.append(seconds)
        if self.round_ < _ROUNDS:
            return None
        return statistics.median(self._times_s)

    def go_on(self, seconds: float) -> None:
        """With twice the rows, unless that gains nothing or takes too long."""
        gain = self.rows * self.alone_s / seconds
        late = seconds > _SLACK * self.info.chunk_us / 1e6
        self.rows = self.most_rows + 1 if late or gain < _WORTH * self._gain else 2 * self.rows
        self._gain = gain
        self.again()

    def again(self) -> None:
        """From the first round of this batch on: its streams were given up."""
        self.round_, self._times_s = 0, []
