"""A stage measures its model while nobody asks it for anything: behind its start, not before."""

from __future__ import annotations

from collections.abc import Callable

from .measure import Measuring
from .stage_plan import Costs

LEISURE_S = 0.5
"""So long after it was last needed a stage has leisure: who waits for a start comes within it."""


class LeisureMeasure:
    """A measurement, a chunk at a time; `begin` begins it, once more whenever it was given up."""

    def __init__(self, begin: Callable[[], Measuring], after_s: float = LEISURE_S) -> None:
        self._begin = begin
        self._after_s = after_s
        self._measuring: Measuring | None = None

    @property
    def pause_s(self) -> float:
        """How long nobody must have come before it goes on."""
        return self._after_s if self._measuring is None else 0.0

    def go_on(self) -> Costs | None:
        """Make a chunk; what was measured, after the last one."""
        if self._measuring is None:
            self._measuring = self._begin()
        try:
            next(self._measuring)
        except StopIteration as over:
            return over.value
        return None

    def give_up(self) -> None:
        """Somebody came: free its stream."""
        self._measuring = None
