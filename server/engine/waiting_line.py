"""The line of those who wait for a place: who is next, how long it takes, who kept his turn.

It reads no clock and does no I/O, and a place may be one of this process or of a whole fleet.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from ..protocol.errors import Capacity

GRACE_S = 15.0
"""For how long the turn of one who was lost is kept."""
LATEST = 31
"""Times for which places were held that the median is taken of."""
RETRY_S = 15.0


@dataclass(slots=True, eq=False)
class Ticket:
    """A turn in the line; `name` is a secret of its client, `key` whose quota it counts for.

    `lost_s` is when the client was lost; None: it waits over a connection. `returns`: it is that of
    a stream that gave its place to others, which neither the length of the line nor the longest
    time keeps out. All times are seconds.
    """

    name: str
    key: str
    joined_s: float
    lost_s: float | None = None
    returns: bool = False


class WaitingLine:
    """First come, first served.

    At most `most` wait, `most_per_key` of them of one key. Nobody waits longer than `max_wait_s`,
    and who was lost keeps the turn for `grace_s`.
    """

    def __init__(
        self, *, most: int, most_per_key: int, max_wait_s: float, grace_s: float = GRACE_S
    ) -> None:
        self.max_wait_s = max_wait_s
        self.most = most
        self._most_per_key = most_per_key
        self._grace_s = grace_s
        self._tickets: list[Ticket] = []
        self._held_s: deque[float] = deque(maxlen=LATEST)

    def __len__(self) -> int:
        return len(self._tickets)

    def of_key(self, key: str) -> int:
        """How many of one key wait, without those whose stream is open."""
        return sum(ticket.key == key and not ticket.returns for ticket in self._tickets)

    def find(self, name: str | None, key: str) -> Ticket | None:
        """The turn that somebody has come back to, who has to be of the same key."""
        known = (each for each in self._tickets if not each.returns)
        return next((each for each in known if (each.name, each.key) == (name, key)), None)

    def join(self, name: str, key: str, now_s: float) -> Ticket:
        """Stand behind all others. Raises Capacity where too many wait already."""
        self._drop_lost(now_s)
        if len(self._tickets) >= self.most:
            raise Capacity(
                f"all places are taken, and {self.most} wait already", retry_after_s=RETRY_S
            )
        if self.of_key(key) >= self._most_per_key:
            raise Capacity(
                f"{self._most_per_key} of one client wait already, and no more may",
                hint="Wait with one of those, or close it.",
                retry_after_s=RETRY_S,
            )
        ticket = Ticket(name, key, now_s)
        self._tickets.append(ticket)
        return ticket

    def come_again(self, name: str, key: str, now_s: float, ticket: Ticket | None) -> Ticket:
        """The turn of an open stream that wants a place again: `ticket`, if that is kept still."""
        if ticket is not None and ticket in self._tickets:
            ticket.lost_s = None
            return ticket
        ticket = Ticket(name, key, now_s, returns=True)
        self._tickets.append(ticket)
        return ticket

    def lose(self, ticket: Ticket, now_s: float) -> None:
        """The client is gone without a word; others are served, and it may come back."""
        ticket.lost_s = now_s

    def come_back(self, ticket: Ticket) -> None:
        """The client waits again, where it stood."""
        ticket.lost_s = None

    def leave(self, ticket: Ticket) -> None:
        """It was served, or waits no more."""
        if ticket in self._tickets:
            self._tickets.remove(ticket)

    def put_back(self, ticket: Ticket, now_s: float) -> None:
        """It was served and lost before it took its place: it is the first again, and lost."""
        ticket.lost_s = now_s
        self._tickets.insert(0, ticket)

    def overdue(self, now_s: float) -> list[Ticket]:
        """Take out who was lost for too long, and return those who have waited for too long."""
        self._drop_lost(now_s)
        waiting = (each for each in self._tickets if not each.returns)
        return [each for each in waiting if now_s - each.joined_s >= self.max_wait_s]

    def present(self) -> list[Ticket]:
        """Those who could take a place now, the first one first."""
        return [ticket for ticket in self._tickets if ticket.lost_s is None]

    def position(self, ticket: Ticket) -> int:
        """1 for the first; those who were lost and may come back count."""
        return self._tickets.index(ticket) + 1

    def held(self, seconds: float) -> None:
        """Somebody has left a place that was his for so long."""
        self._held_s.append(seconds)

    def eta_s(self, position: int, places: int, coming_s: Sequence[float] = ()) -> float | None:
        """In how many seconds the turn should come of who stands there; None: nobody knows.

        That is the position times the median time for which a place was held of late, over all
        `places`, unless so many places are known to come free sooner, each after `coming_s`.
        """
        guesses = sorted(coming_s)[position - 1 : position]
        if self._held_s and places > 0:
            guesses.append(position * statistics.median(self._held_s) / places)
        return min(guesses, default=None)

    def _drop_lost(self, now_s: float) -> None:
        self._tickets = [each for each in self._tickets if not self._is_over(each, now_s)]

    def _is_over(self, ticket: Ticket, now_s: float) -> bool:
        return ticket.lost_s is not None and now_s - ticket.lost_s >= self._grace_s
