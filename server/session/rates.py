"""Figures per second for one stream, and the limit on how often a client may speak."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figures:
    """What happened per second since the last look.

    `step_s` is the mean time of a step, `rtf` the time of all steps over that of their media.
    """

    fps: float
    kbps: float
    step_s: float
    rtf: float


class Rates:
    """Counts frames, bytes, step times and what they made between two looks."""

    def __init__(self, now_s: float, last_step: tuple[float, float] = (0.0, 1.0)) -> None:
        self.since_s = now_s
        self._frames = self._bytes = self._steps = 0
        self._step_sum_s = self._media_sum_s = 0.0
        self._last_step = last_step

    def sent(self, byte_count: int, *, frame: bool) -> None:
        """A packet left."""
        self._bytes += byte_count
        self._frames += frame

    def stepped(self, step_s: float, media_s: float) -> None:
        """A chunk that lasts `media_s` took `step_s` to generate."""
        self._steps += 1
        self._step_sum_s += step_s
        self._media_sum_s += media_s
        self._last_step = step_s, media_s

    def figures(self, now_s: float) -> Figures:
        """The figures so far; go on with `following` afterwards."""
        elapsed_s = max(1e-3, now_s - self.since_s)
        step_s, media_s = (self._step_sum_s, self._media_sum_s) if self._steps else self._last_step
        return Figures(
            fps=self._frames / elapsed_s,
            kbps=self._bytes * 8e-3 / elapsed_s,
            step_s=step_s / max(1, self._steps),
            rtf=step_s / media_s,
        )

    def following(self, now_s: float) -> Rates:
        """Counters that start at `now_s`."""
        return Rates(now_s, self._last_step)


class TokenBucket:
    """Permits `rate_per_s` on average and `burst` at once, of events or of anything else."""

    def __init__(self, *, rate_per_s: float, burst: float, now_s: float) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._tokens = burst
        self._at_s = now_s

    def take(self, now_s: float, count: float = 1) -> bool:
        """Whether `count` more are permitted now; if so, they are taken."""
        self._refill(now_s)
        if self._tokens < count:
            return False
        self._tokens -= count
        return True

    def spend(self, now_s: float, count: float = 1) -> None:
        """Take what has happened already, permitted or not."""
        self._refill(now_s)
        self._tokens -= count

    def owe(self, now_s: float, count: float) -> float:
        """Take what has happened already; how long until nothing is owed, 0: nothing is now."""
        tokens = self._tokens
        if tokens < self._burst:
            tokens = min(self._burst, tokens + (now_s - self._at_s) * self._rate_per_s)
        self._at_s = now_s
        self._tokens = tokens = tokens - count
        return -tokens / self._rate_per_s if tokens < 0 else 0.0

    def credit(self, now_s: float, seconds: float) -> None:
        """Permit what those seconds would have, at once and beyond the burst."""
        self._refill(now_s)
        self._tokens += seconds * self._rate_per_s

    def wait_s(self, now_s: float, count: float = 0) -> float:
        """How long until `count` are permitted and nothing is owed; 0: they are now."""
        self._refill(now_s)
        return max(0.0, (count - self._tokens) / self._rate_per_s)

    def full(self, now_s: float) -> bool:
        """Whether as much is permitted as ever: who asked for it was not here for a while."""
        self._refill(now_s)
        return self._tokens >= self._burst

    def _refill(self, now_s: float) -> None:
        earned = (now_s - self._at_s) * self._rate_per_s
        # never less than there was: a credit may be more than the burst
        self._tokens = max(self._tokens, min(self._burst, self._tokens + earned))
        self._at_s = now_s
