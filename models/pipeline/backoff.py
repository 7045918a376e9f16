"""How long to wait before processes that did not come up are started again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses before one failed start after another: doubled up to `most_s`, without an end."""

    first_s: float = 0.5
    most_s: float = 30.0

    def pause_s(self, failures: int) -> float:
        """Before the next try, after so many that failed in a row."""
        # a power beyond any pause, and within what a float can be
        doubled = self.first_s * 2.0 ** min(failures - 1, 64)
        return min(self.most_s, doubled) if failures else 0.0
