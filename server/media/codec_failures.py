"""What encodes and failed of late, so that the next stream is not given what fails always."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from ...models.pipeline.backoff import Backoff

BROKEN = 3
"""After so many failures in a row a codec is not offered while it rests."""
_REST = Backoff(first_s=5.0, most_s=300.0)

Name = TypeVar("Name", bound=str)


class CodecFailures:
    """A codec, or an encoder of it, rests after a failure, longer if it fails again.

    Time is passed in.
    """

    def __init__(self, rest: Backoff = _REST) -> None:
        self._rest = rest
        self._in_a_row: dict[str, int] = {}
        self._until_s: dict[str, float] = {}

    def failed(self, codec: str, now_s: float) -> None:
        """An encoder could not be opened, raised an error or hung."""
        self._in_a_row[codec] = self._in_a_row.get(codec, 0) + 1
        self._until_s[codec] = now_s + self._rest.pause_s(self._in_a_row[codec])

    def worked(self, codec: str) -> None:
        """An encoder has worked for a while."""
        self._in_a_row.pop(codec, None)
        self._until_s.pop(codec, None)

    def is_broken(self, codec: str, now_s: float) -> bool:
        """Whether it fails again and again, and its turn to be tried has not come."""
        return self._in_a_row.get(codec, 0) >= BROKEN and now_s < self._until_s[codec]

    def in_order(self, codecs: Iterable[Name], now_s: float) -> tuple[Name, ...]:
        """Those that are not broken, and the ones that rest at last."""
        fit: list[Name] = [
            each for each in dict.fromkeys(codecs) if not self.is_broken(each, now_s)
        ]
        return tuple(sorted(fit, key=lambda codec: now_s < self._until_s.get(codec, now_s)))
