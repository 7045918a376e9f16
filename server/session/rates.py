"""Figures per second for one stream, and the limit on how often a client may speak."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figures:
    """What happened per second since the last look; `step_s` is the mean time of a step."""

    fps: float
    kbps: float
    step_s: float


class Rates:
    """Counts frames, bytes and step times between two looks."""

    def __init__(self, now_s: float, last_step_s: float = 0.0) -> None:
        self.since_s = now_s
        self._frames = self._bytes = self._steps = 0
        self._step_sum_s = 0.0
        self._last_step_s = last_step_s

    def sent(self, byte_count: int, *, frame: bool) -> None:
        """A packet left."""
        self._bytes += byte_count
        self._frames += frame

    def stepped(self, step_s: float) -> None:
        """A chunk took this long to generate."""
        self._steps += 1
        self._step_sum_s += step_s
        self._last_step_s = step_s

    def figures(self, now_s: float) -> Figures:
        """The figures so far; go on with `following` afterwards."""
        elapsed_s = max(1e-3, now_s - self.since_s)
        step_s = self._step_sum_s / self._steps if self._steps else self._last_step_s
        return Figures(self._frames / elapsed_s, self._bytes * 8e-3 / elapsed_s, step_s)

    def following(self, now_s: float) -> Rates:
        """Counters that start at `now_s`."""
        return Rates(now_s, self._last_step_s)


class TokenBucket:
    """Permits `rate_per_s` events on average and `burst` at once."""

    def __init__(self, *, rate_per_s: float, burst: float, now_s: float) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._tokens = burst
        self._at_s = now_s

    def take(self, now_s: float) -> bool:
        """Whether one more event is permitted now."""
        self._tokens = min(self._burst, self._tokens + (now_s - self._at_s) * self._rate_per_s)
        self._at_s = now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
