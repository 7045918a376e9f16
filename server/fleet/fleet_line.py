"""The line of a whole fleet: who came first of those that wait at its gateways.

Pure, and soft: gateways say again and again who waits at them and for how long, so a controller
that was just started knows the line as soon as it has heard them.
"""

from __future__ import annotations

from collections.abc import Mapping


class FleetLine:
    """Sessions that wait, by gateway."""

    def __init__(self) -> None:
        self._since_s: dict[str, dict[str, float]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._since_s.values()))

    def hear(self, gateway: str, waited_s: Mapping[str, float], now_s: float) -> None:
        """A gateway says who waits at it, all of them."""
        known = self._since_s.get(gateway, {})
        # a message that took long must not let anybody lose a place
        self._since_s[gateway] = {
            session: min(now_s - waited, known.get(session, now_s))
            for session, waited in waited_s.items()
        }

    def forget(self, gateway: str) -> None:
        """It is gone; its clients come by another one, and wait there anew."""
        self._since_s.pop(gateway, None)

    def served(self, session: str) -> None:
        """It has a place."""
        for waiting in self._since_s.values():
            waiting.pop(session, None)

    def ahead(self, session: str) -> int:
        """How many came before; all, for one that does not wait yet."""
        every = {name: since_s for each in self._since_s.values() for name, since_s in each.items()}
        mine = every.get(session)
        if mine is None:
            return len(every)
        return sum((since_s, name) < (mine, session) for name, since_s in every.items())
