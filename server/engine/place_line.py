"""Who waits for a place of this server: each is given the one whose turn it is, and told till then.

All on the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable

from ..config import ServerConfig
from ..metrics import Metrics
from ..protocol.errors import Capacity, EngineFailed, Replaced, StreamError
from ..protocol.server_messages import Queued
from .hosted_model import HostedModel
from .places import Place, Places
from .scheduler import RETRY_S, AllTaken
from .stream_registry import StreamRegistry
from .waiting_line import Ticket, WaitingLine


class Waiter:
    """A connection that waits for a place of a model."""

    def __init__(self, ticket: Ticket, model: HostedModel) -> None:
        self.ticket = ticket
        self.model = model
        self.place: asyncio.Future[Place] = asyncio.get_running_loop().create_future()
        """Its place, or the StreamError for which it gets none."""
        self.moved = asyncio.Event()
        """Set when its position is another."""
        self.position = 0

    def refuse(self, error: StreamError) -> None:
        """It gets no place."""
        if not self.place.done():
            self.place.set_exception(error)


class PlaceLine:
    """The line before these places; `serve` is called several times a second."""

    def __init__(
        self,
        config: ServerConfig,
        places: Places,
        streams: StreamRegistry,
        metrics: Metrics,
        now_s: Callable[[], float],
    ) -> None:
        self._line = WaitingLine(
            most=config.max_waiting,
            most_per_key=config.max_waiting_per_client,
            max_wait_s=config.max_wait_s,
        )
        self._places = places
        self._streams = streams
        self._metrics = metrics
        self._now_s = now_s
        self._waiters: dict[Ticket, Waiter] = {}

    def __len__(self) -> int:
        return len(self._line)

    def hold(self, model: HostedModel, client: str, ticket: str | None) -> Place | Waiter:
        """A place now, if nobody waits for one; else a turn, at `ticket` if that is one's own.

        Raises Capacity where the client has all that it may, or too many wait already.
        """
        now_s = self._now_s()
        kept = self._line.find(ticket, client)
        if kept is not None:
            return self._come_back(kept, model)
        self._places.check_quota(client, self._line.of_key(client))
        if not self._line.most:
            if self._line.present():
                raise AllTaken("a stream that was parked comes first", retry_after_s=RETRY_S)
            return self._places.hold(model, client, now_s)
        if not self._line.present():
            with contextlib.suppress(AllTaken):
                return self._places.hold(model, client, now_s)
        return self._wait(self._line.join(secrets.token_urlsafe(12), client, now_s), model)

    def come_again(self, model: HostedModel, client: str, ticket: Ticket | None) -> Place | Waiter:
        """A place for an open stream that has none, or a turn: `ticket`, if that is still kept."""
        now_s = self._now_s()
        if not self._line.present():
            with contextlib.suppress(Capacity):
                return self._places.hold(model, client, now_s)
        name = secrets.token_urlsafe(12)
        return self._wait(self._line.come_again(name, client, now_s, ticket), model)

    def news(self, waiter: Waiter, event_id: str | None) -> Queued:
        """How it stands with one who waits."""
        waiter.moved.clear()
        position, now_s = self._line.position(waiter.ticket), self._now_s()
        ends = (stream.session.ends_in_s(now_s) for stream in self._streams)
        coming_s = [end_s for end_s in ends if end_s is not None]
        eta_s = self._line.eta_s(position, self._places.total, coming_s)
        return Queued(
            event_id=event_id,
            position=position,
            eta_s=None if eta_s is None else round(eta_s, 1),
            ticket=waiter.ticket.name,
        )

    def lose(self, waiter: Waiter) -> None:
        """Its connection is gone; it may come back to its turn for a while."""
        if self._let_go(waiter):
            self._line.put_back(waiter.ticket, self._now_s())
        elif self._waiters.get(waiter.ticket) is waiter:
            del self._waiters[waiter.ticket]
            self._line.lose(waiter.ticket, self._now_s())

    def leave(self, waiter: Waiter) -> None:
        """It waits no more; a place that it was given meanwhile goes to the next one."""
        self._let_go(waiter)
        if self._waiters.get(waiter.ticket) is waiter:
            del self._waiters[waiter.ticket]
            self._line.leave(waiter.ticket)

    def held(self, seconds: float) -> None:
        """A stream that has ended had its place for so long."""
        self._line.held(seconds)

    def refuse_all(self, error: Callable[[], StreamError]) -> None:
        """Nobody gets a place any more; each is told an error of its own."""
        for waiter in list(self._waiters.values()):
            self._end(waiter, error())

    def serve(self) -> None:
        """Give out the places that are free, tell who has moved, send away who waited too long."""
        now_s = self._now_s()
        for ticket in self._line.overdue(now_s):
            if (waiter := self._waiters.get(ticket)) is not None:
                self._end(waiter, _too_long(self._line.max_wait_s))
        for ticket in self._line.present():
            if not self._serve(self._waiters[ticket], now_s):
                break
        for waiter in self._waiters.values():
            position = self._line.position(waiter.ticket)
            if position != waiter.position:
                waiter.position = position
                waiter.moved.set()
        self._metrics.waiting.set(len(self._line))

    # Private.

    def _come_back(self, ticket: Ticket, model: HostedModel) -> Waiter:
        """Over a new connection, which may be here before the old one is known to be gone."""
        if (before := self._waiters.pop(ticket, None)) is not None:
            before.refuse(Replaced("the place in the line went to a newer connection"))
        self._line.come_back(ticket)
        return self._wait(ticket, model)

    def _wait(self, ticket: Ticket, model: HostedModel) -> Waiter:
        waiter = self._waiters[ticket] = Waiter(ticket, model)
        waiter.position = self._line.position(ticket)
        return waiter

    def _serve(self, waiter: Waiter, now_s: float) -> bool:
        """Whether the next one may be served."""
        model, ticket = waiter.model, waiter.ticket
        if model.condition == "failed":
            self._end(waiter, EngineFailed("the model stopped working", retry_after_s=60.0))
            return True
        if model.condition != "ready":
            # its turn is kept, and no place of another model is kept from the others
            return True
        try:
            place = self._places.hold(model, ticket.key, now_s)
        except Capacity:
            return False
        self._metrics.waited_s.observe(now_s - ticket.joined_s)
        del self._waiters[ticket]
        self._line.leave(ticket)
        waiter.place.set_result(place)
        return True

    def _end(self, waiter: Waiter, error: StreamError) -> None:
        waiter.refuse(error)
        self._waiters.pop(waiter.ticket, None)
        self._line.leave(waiter.ticket)

    def _let_go(self, waiter: Waiter) -> bool:
        """Nobody takes the place that it may have been given; whether it was."""
        if not waiter.place.done():
            waiter.place.cancel()
        if waiter.place.cancelled() or waiter.place.exception() is not None:
            return False
        self._places.release(waiter.place.result())
        return True


def _too_long(limit_s: float) -> Capacity:
    return Capacity(f"no place came free in {limit_s:g} s", retry_after_s=RETRY_S)
