"""One token bucket for each address, and none for addresses that were not seen for a while."""

from __future__ import annotations

from ..session.rates import TokenBucket

REMEMBERED = 4096


class PerAddress:
    """Permits each address `rate_per_s` on average and `burst` at once."""

    def __init__(self, *, rate_per_s: float, burst: float) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._buckets: dict[str, TokenBucket] = {}

    def of(self, address: str, now_s: float) -> TokenBucket:
        """The bucket of an address."""
        bucket = self._buckets.get(address)
        if bucket is None:
            if len(self._buckets) >= REMEMBERED:
                self._forget(now_s)
            bucket = TokenBucket(rate_per_s=self._rate_per_s, burst=self._burst, now_s=now_s)
            self._buckets[address] = bucket
        return bucket

    def _forget(self, now_s: float) -> None:
        """Drop the buckets that are full, and if all are in use, those that came first."""
        used = [(key, each) for key, each in self._buckets.items() if not each.full(now_s)]
        self._buckets = dict(used[-REMEMBERED // 2 :])
