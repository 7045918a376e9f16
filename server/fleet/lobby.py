"""The places that a gateway gives, and the line of its clients that wait for one."""

from __future__ import annotations

import asyncio
import secrets

from ..config import ServerConfig
from ..engine.waiting_line import Ticket, WaitingLine
from ..protocol.client_messages import SessionCreate
from ..protocol.errors import Capacity
from ..protocol.messages import encode_message
from ..protocol.server_messages import Queued
from .directory import Directory
from .ledger import Placement
from .link import Closed, Link

ASK_EVERY_S = 0.25
MOST_WAIT_S = 60.0
"""How long who opens a stream waits for a place."""
TELL_EVERY_S = 5.0
"""At least; a client gives up who says nothing for longer than it has patience."""
RETRY_S = 5.0


class Lobby:
    """Who waits at one gateway."""

    def __init__(self, config: ServerConfig, directory: Directory, most_wait_s: float) -> None:
        self._waits: dict[str, Ticket] = {}
        """Those who wait over a connection, by the session that they will have."""
        self._directory = directory
        self._line = WaitingLine(
            most=config.max_waiting,
            most_per_key=config.max_waiting_per_client,
            max_wait_s=most_wait_s,
        )

    @property
    def most_wait_s(self) -> float:
        """Nobody waits longer."""
        return self._line.max_wait_s

    def waited_s(self) -> dict[str, float]:
        """Who waits here, by session, and for how long so far."""
        now_s = asyncio.get_running_loop().time()
        return {session: now_s - ticket.joined_s for session, ticket in self._waits.items()}

    def held(self, seconds: float) -> None:
        """Somebody has left a place that was his for so long."""
        self._line.held(seconds)

    async def place(
        self, session: str, message: SessionCreate, link: Link, client: str
    ) -> Placement:
        """A place, now or when it is the client's turn."""
        now_s = asyncio.get_running_loop().time()
        ticket = self._line.find(message.ticket, client)
        if ticket is None:
            if not self._line.present() or not self._line.most:
                place = await self._directory.acquire(session, message.model)
                if place is not None:
                    return place
            if not self._line.most:
                raise Capacity("all places of the fleet are taken", retry_after_s=RETRY_S)
            ticket = self._line.join(secrets.token_urlsafe(12), client, now_s)
        else:
            self._line.come_back(ticket)
        self._waits[session] = ticket
        try:
            return await self._wait(session, message, link, ticket)
        except Closed:
            self._line.lose(ticket, asyncio.get_running_loop().time())
            raise
        except BaseException:
            self._line.leave(ticket)
            raise
        finally:
            del self._waits[session]

    async def _wait(
        self, session: str, message: SessionCreate, link: Link, ticket: Ticket
    ) -> Placement:
        """Wait in the line, told how it stands."""
        loop, told, tell_s = asyncio.get_running_loop(), 0, 0.0
        while True:
            now_s = loop.time()
            if link.closed is not None:
                raise link.closed
            if ticket in self._line.overdue(now_s):
                raise Capacity("no place came free in time", retry_after_s=RETRY_S)
            if self._line.present()[:1] == [ticket]:
                place = await self._directory.acquire(session, message.model)
                if place is not None:
                    self._line.leave(ticket)
                    return place
            position = self._directory.position(session) or self._line.position(ticket)
            if position != told or now_s >= tell_s:
                told, tell_s = position, now_s + TELL_EVERY_S
                places = sum(each.places for each in self._directory.replicas.values())
                eta_s = self._line.eta_s(position, places)
                queued = Queued(
                    event_id=message.event_id,
                    position=position,
                    eta_s=None if eta_s is None else round(eta_s, 1),
                    ticket=ticket.name,
                )
                link.say(encode_message(queued).encode())
            await asyncio.sleep(ASK_EVERY_S)
