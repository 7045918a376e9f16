"""What a receiver's reports say of the way to it: a bitrate, without any I/O.

A receiver estimates what it could get (REMB) from what it gets, so that an encoder with little to
say is told little, though the way is wide. So an estimate counts as a limit only when it is below
what is sent, and the limit rises again while it is well above that.
"""

from __future__ import annotations

from ..protocol.limits import MIN_KBPS

TIGHT = 1.0
"""An estimate below so many times what is sent is a limit."""
WIDE = 1.2
RISE_PER_S = 1.08
LOSS = 0.1
"""A larger share of packets that were lost lowers the bitrate."""
LOWER_EVERY_S = 0.5


class LinkRate:
    """The bitrate that the way to one receiver carries; None while nothing limits it."""

    def __init__(self, most_kbps: float) -> None:
        self._most_kbps = most_kbps
        self._sent_bits = 0
        self._since_s: float | None = None
        self._sent_kbps = 0.0
        self._raised_s = self._lowered_s = 0.0
        self._kbps: float | None = None

    @property
    def kbps(self) -> int | None:
        """See the class."""
        return None if self._kbps is None else round(self._kbps)

    def sent(self, byte_count: int, now_s: float) -> None:
        """Bytes have left."""
        since_s = now_s if self._since_s is None else self._since_s
        self._sent_bits += 8 * byte_count
        if now_s - since_s >= 1.0:
            self._sent_kbps = self._sent_bits / 1e3 / (now_s - since_s)
            self._sent_bits, since_s = 0, now_s
        self._since_s = since_s

    def estimated(self, kbps: float, now_s: float) -> None:
        """The receiver estimates that it could get so much."""
        if kbps < TIGHT * self._sent_kbps:
            self._set(kbps, now_s)
        elif kbps > WIDE * self._sent_kbps:
            self._rise(now_s)

    def lost(self, share: float, now_s: float) -> None:
        """This share of the packets since the last report did not come."""
        if share > LOSS and self._sent_kbps and now_s - self._lowered_s >= LOWER_EVERY_S:
            self._set((self._kbps or self._sent_kbps) * (1 - share / 2), now_s)

    def _set(self, kbps: float, now_s: float) -> None:
        self._kbps = max(float(MIN_KBPS), min(kbps, self._kbps or kbps))
        self._lowered_s = self._raised_s = now_s

    def _rise(self, now_s: float) -> None:
        if self._kbps is None:
            return
        raised = self._kbps * RISE_PER_S ** min(1.0, now_s - self._raised_s)
        self._raised_s = now_s
        self._kbps = raised if raised < self._most_kbps else None
