"""Which codecs failed of late, so that the next stream is not given one that fails always."""

from __future__ import annotations

from collections.abc import Iterable

from ...models.pipeline.backoff import Backoff
from ..protocol.fields import Codec

BROKEN = 3
"""After so many failures in a row a codec is not offered while it rests."""
_REST = Backoff(first_s=5.0, most_s=300.0)


class CodecFailures:
    """A codec rests after a failure, longer if it fails again; time is passed in."""

    def __init__(self, rest: Backoff = _REST) -> None:
        self._rest = rest
        self._in_a_row: dict[Codec, int] = {}
        self._until_s: dict[Codec, float] = {}

    def failed(self, codec: Codec, now_s: float) -> None:
        """An encoder could not be opened, raised an error or hung."""
        self._in_a_row[codec] = self._in_a_row.get(codec, 0) + 1
        self._until_s[codec] = now_s + self._rest.pause_s(self._in_a_row[codec])

    def worked(self, codec: Codec) -> None:
        """An encoder has worked for a while."""
        self._in_a_row.pop(codec, None)
        self._until_s.pop(codec, None)

    def is_broken(self, codec: Codec, now_s: float) -> bool:
        """Whether it fails again and again, and its turn to be tried has not come."""
        return self._in_a_row.get(codec, 0) >= BROKEN and now_s < self._until_s[codec]

    def in_order(self, codecs: Iterable[Codec], now_s: float) -> tuple[Codec, ...]:
        """Those that are not broken, and the ones that rest at last."""
        fit: list[Codec] = [
            each for each in dict.fromkeys(codecs) if not self.is_broken(each, now_s)
        ]
        return tuple(sorted(fit, key=lambda codec: now_s < self._until_s.get(codec, now_s)))
