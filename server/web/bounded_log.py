"""Log lines about peers: whoever connects often does not fill the log."""

from __future__ import annotations

from typing import Any

from ..logs import logger
from .addresses import network_of
from .pace import Allowance

LINES = Allowance(per_s=0.2, at_once=20)
"""Of one address."""
REMEMBERED = 4096


class BoundedLog:
    """Writes so many lines about each address, and with the next one how many it left out."""

    def __init__(self, name: str, lines: Allowance = LINES) -> None:
        self._log = logger(name)
        self._lines = lines.per_address()
        self._left_out: dict[str, int] = {}

    def info(self, event: str, host: str, now_s: float, **fields: Any) -> None:
        """A line about what a peer did."""
        if (left_out := self._permit(host, now_s)) is not None:
            self._log.info(event, address=host, **fields, **left_out)

    def warning(self, event: str, host: str, now_s: float, **fields: Any) -> None:
        """A line about what somebody should look at."""
        if (left_out := self._permit(host, now_s)) is not None:
            self._log.warning(event, address=host, **fields, **left_out)

    def error(self, event: str, host: str, now_s: float, **fields: Any) -> None:
        """A line about what went wrong here."""
        if (left_out := self._permit(host, now_s)) is not None:
            self._log.error(event, address=host, **fields, **left_out)

    def _permit(self, host: str, now_s: float) -> dict[str, int] | None:
        """None: no line. Otherwise what it has to say of those before it."""
        address = network_of(host)
        if self._lines.of(address, now_s).take(now_s):
            count = self._left_out.pop(address, 0)
            return {"left_out_before": count} if count else {}
        if address in self._left_out or len(self._left_out) < REMEMBERED:
            self._left_out[address] = self._left_out.get(address, 0) + 1
        return None
