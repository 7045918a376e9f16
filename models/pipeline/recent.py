"""What a figure was of late: the median of its latest values."""

from __future__ import annotations

import statistics
from collections import deque

_WINDOW = 31
# what was measured first counts as much as so many values: one slow chunk says nothing
_TRUST = 5


class Recent:
    """Follows a figure both ways, and no single value however large moves it far.

    `first` is what it is taken for until there are others; as a `guess` it is one value itself.
    """

    def __init__(self, first: float, *, guess: bool = False) -> None:
        self._values: deque[float] = deque([first] * (1 if guess else _TRUST), _WINDOW)

    @property
    def value(self) -> float:
        """Its median."""
        return statistics.median(self._values)

    @property
    def is_sure(self) -> bool:
        """Whether it is more than a guess and a few values."""
        return len(self._values) >= _TRUST

    def scale(self, times: float) -> None:
        """From now on it is going to be so many times as large."""
        self._values = deque((times * each for each in self._values), _WINDOW)

    def add(self, value: float) -> None:
        """One more value; the oldest is forgotten."""
        self._values.append(value)
