"""Whether this process itself stood still: suspended, starved, or its loop blocked.

What clients said meanwhile is read all at once afterwards, and what they waited for came late.
Neither is their fault, so limits on time and rate leave a stall out.
"""

from __future__ import annotations

LATE_S = 0.5


class StallWatch:
    """`beat` is called several times a second by a loop that a stall stops like all others."""

    def __init__(self, now_s: float, late_s: float = LATE_S) -> None:
        self._beat_s = now_s
        self._late_s = late_s
        self._stalled_s = 0.0

    def beat(self, now_s: float) -> float:
        """The loop runs; how long it had stalled just before, in seconds."""
        stall_s = self._late(now_s)
        self._beat_s = now_s
        self._stalled_s += stall_s
        return stall_s

    def stalled_s(self, now_s: float) -> float:
        """All stalls together, with one that has just ended and was not met by a beat yet."""
        return self._stalled_s + self._late(now_s)

    def _late(self, now_s: float) -> float:
        pause_s = now_s - self._beat_s
        return pause_s if pause_s > self._late_s else 0.0
