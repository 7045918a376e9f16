"""How long a batch of so many chunks takes a model, as measured first and in use; pure."""

from __future__ import annotations

from math import sqrt

from ...models.pipeline.events import Finished

_WEIGHT = 0.1
"""Of a new value in what is taken for usual."""
_DEVIATIONS = 1.65
"""So many standard deviations above its mean lies the 95th percentile of a normal value."""


class BatchTable:
    """Seconds by rows: mean and spread follow live batches (exponentially weighted)."""

    def __init__(self) -> None:
        self._mean: dict[int, float] = {}
        self._square: dict[int, float] = {}

    def add(self, rows: int, seconds: float) -> None:
        """A batch took so long."""
        mean = self._mean.setdefault(rows, seconds)
        off = seconds - mean
        self._mean[rows] = mean + _WEIGHT * off
        before = self._square.get(rows, 0.0)
        self._square[rows] = (1 - _WEIGHT) * (before + _WEIGHT * off * off)

    def measure(self, rows: int, seconds: float) -> None:
        """Batches were timed while nothing else ran: what one takes, whatever was thought before.

        How much it varies is what was seen beside streams.
        """
        self._mean[rows] = seconds

    def forget(self) -> None:
        """The model was started anew, perhaps with another number of threads."""
        self._mean.clear()
        self._square.clear()

    @property
    def seconds(self) -> dict[int, float]:
        """What batches take 95 times of 100, by rows."""
        return {
            rows: mean + _DEVIATIONS * sqrt(self._square.get(rows, 0.0))
            for rows, mean in sorted(self._mean.items())
        }


class BatchTimes:
    """Puts the chunks of a batch together again: how long all of it took."""

    def __init__(self) -> None:
        self._key: tuple[int, float] | None = None
        self._begin_s = self._end_s = 0.0
        self._count = 0

    def add(self, event: Finished) -> float | None:
        """One of its chunks is done; seconds of the whole batch with the last one."""
        shared = [span.begin_s for span in event.spans if span.name.startswith("step")]
        if event.rows < 2 or not shared:
            return None
        key = event.rows, shared[0]
        begin_s = min(span.begin_s for span in event.spans)
        end_s = max(span.end_s for span in event.spans)
        if key != self._key:
            self._key, self._count, self._begin_s, self._end_s = key, 0, begin_s, end_s
        self._count += 1
        self._begin_s, self._end_s = min(self._begin_s, begin_s), max(self._end_s, end_s)
        return self._end_s - self._begin_s if self._count == event.rows else None


def gain(rows: int, alone_s: float, seconds: float) -> float:
    """How many times as many chunks a batch makes in a given time."""
    return rows * alone_s / seconds
