"""The gateway: it ends clients' sockets and carries each stream to a replica, whichever has it.

It is no process of Ray's. What it knows, journals but for, can be asked of the replicas again: a
client of a gateway that is gone resumes at another.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from ..config import ServerConfig
from ..handover.journal import Journal
from ..handover.records import pack_record, unpack_record
from ..protocol.client_messages import (
    SessionCreate,
    SessionResume,
    SessionWatch,
)
from ..protocol.errors import (
    Capacity,
    InvalidField,
    Replaced,
    StreamError,
    Unauthorized,
    UnknownSession,
    WrongResumeToken,
)
from ..protocol.messages import answer, encode_message
from ..web.client_tokens import Claims
from .carrier import Caller, Carrier, Moves
from .directory import Directory, authorization
from .handshakes import Handshakes, Visitor
from .http_call import NoAnswer, call
from .ledger import Placement
from .link import Link
from .lobby import ASK_EVERY_S, MOST_WAIT_S, Lobby
from .relay import Relay
from .upstream import Refused, give_and_greet, open_on, open_upstream
from .watcher import Watcher

LOOK_EVERY_S = 0.1
STALL_S = 0.4
"""A look that comes so late means that the gateway itself stood still."""
PARKED_MOST = 4096


@dataclass(slots=True)
class Parked:
    """A stream whose client is gone."""

    relay: Relay
    until_s: float


class Gateway:
    """All clients of one gateway."""

    def __init__(
        self,
        config: ServerConfig,
        directory: Directory,
        *,
        most_wait_s: float = MOST_WAIT_S,
    ) -> None:
        """`config` is the public side's, with the key of the fleet."""
        assert config.fleet_key is not None, "a gateway has the fleet's key"
        self.config = config
        self.directory = directory
        self.moves = Moves()
        self.carriers: dict[str, Carrier] = {}
        self.parked: dict[str, Parked] = {}
        self.watchers: set[Watcher] = set()
        self.draining = False
        self._key = config.fleet_key.reveal()
        self._lobby = Lobby(config, directory, most_wait_s)
        self._handshakes = Handshakes(config, directory, self._key, self._open)
        self._clients: Counter[str] = Counter()
        self._task: asyncio.Task[None] | None = None
        self._serving: set[asyncio.Task[None]] = set()

    # Life.

    def start(self) -> None:
        """Watch over all streams from now on."""
        self._task = asyncio.create_task(self._look(), name="gateway")

    async def drain(self) -> None:
        """Let all clients go on at another gateway."""
        self.draining = True
        for carrier in list(self.carriers.values()):
            carrier.end(1012, "draining")
        for watcher in list(self.watchers):
            watcher.end(1012, "draining")
        await asyncio.sleep(0)

    async def stop(self) -> None:
        """End what is left."""
        tasks = [each for each in (self._task, *self._serving) if each is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def waiting(self) -> int:
        """How many clients wait for a place."""
        return len(self.waited_s())

    def waited_s(self) -> dict[str, float]:
        """Who waits for a place here, by session, and for how long so far."""
        return self._lobby.waited_s()

    @property
    def ready(self) -> bool:
        """Whether there is a replica that takes streams."""
        return any(each.condition == "ready" for each in self.directory.replicas.values())

    def serve(self, link: Link, visitor: Visitor, opened: asyncio.Event) -> None:
        """Serve a socket that was accepted; `opened` is set when it has a stream."""
        self.keep(
            asyncio.create_task(self._handshakes.serve(link, visitor, opened), name="handshake")
        )

    def keep(self, task: asyncio.Task[None]) -> None:
        """Hold a task until it is done; it ends with the gateway."""
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    def hand_over(self, session: str) -> bytes | None:
        """What another gateway needs of a stream that was here, which has it from now on."""
        parked = self.parked.pop(session, None)
        relay = None if parked is None else parked.relay
        if relay is None and session in self.carriers:
            relay = self.carriers[session].relay
            self.carriers[session].replaced()
            self.parked.pop(session, None)
        if relay is None or not relay.journal.usable:
            return None
        records = [pack_record(each) for each in relay.journal.whole()]
        return msgspec.msgpack.encode((relay.replica, relay.epoch, records))

    # Streams.

    async def _open(
        self,
        link: Link,
        message: SessionCreate | SessionResume | SessionWatch,
        text: bytes,
        caller: Caller,
        share: Claims | None,
    ) -> None:
        if isinstance(message, SessionWatch):
            await self._watch(link, text, caller, share)
        elif isinstance(message, SessionCreate):
            await self._create(link, message, text, caller)
        else:
            await self._resume(link, message, text, caller)

    async def _create(
        self, link: Link, message: SessionCreate, text: bytes, caller: Caller
    ) -> None:
        self._check_quota(caller.client)
        session = secrets.token_urlsafe(12)
        failures, until_s = 0, asyncio.get_running_loop().time() + self._lobby.most_wait_s
        while True:
            place = await self._lobby.place(session, message, link, caller.client)
            try:
                upstream, answered = await self._ask(place, caller, text)
                break
            except OSError:
                # lost since it was looked at
                self.directory.suspect(place.replica)
                self.directory.release(session)
                failures += 1
                if failures > 2:
                    raise
            except Refused as refused:
                # somebody else was faster: another gateway, or a stream that was moved there
                self.directory.release(session)
                self.directory.full(place.replica)
                late = asyncio.get_running_loop().time() >= until_s
                if refused.code != Capacity.code or late:
                    raise
            except BaseException:
                self.directory.release(session)
                raise
        self.directory.settle(session)
        self._carry(link, upstream, answered, place, caller)

    async def _ask(self, place: Placement, caller: Caller, first: bytes) -> tuple[Link, bytes]:
        return await open_upstream(
            place,
            self._key,
            role="stream",
            hello=caller.hello,
            first=first,
            address=caller.address,
            client=caller.client,
        )

    async def _resume(
        self, link: Link, message: SessionResume, text: bytes, caller: Caller
    ) -> None:
        """Go on with a stream where it is, or from what was kept of it."""
        session = message.session_id
        live = self.carriers.get(session)
        if live is not None:
            _check_token(live.relay, message)
            live.end(4409, "replaced", _replaced())
            live.replaced()
        parked = self.parked.pop(session, None)
        relay = None if parked is None else parked.relay
        if relay is not None:
            try:
                _check_token(relay, message)
            except StreamError:
                self.parked[session] = parked  # type: ignore[assignment]
                raise
        try:
            place = await self._where(session, relay)
            if place is not None and await self._resumed_there(link, place, text, caller):
                return
            relay = relay if relay is not None else await self._from_others(session, message)
            if relay is None or not relay.journal.usable:
                raise UnknownSession("there is no such stream", field="session_id")
            await self._resumed_elsewhere(link, relay, message, text, caller)
        except BaseException:
            if relay is not None and session not in self.carriers and parked is not None:
                self.parked[session] = Parked(relay, parked.until_s)
            raise

    async def _where(self, session: str, relay: Relay | None) -> Placement | None:
        found = await self.directory.where(session)
        if found is not None or relay is None:
            return found
        replica = self.directory.replicas.get(relay.replica)
        if replica is None:
            return None
        return Placement(session, replica.name, replica.url, relay.epoch)

    async def _resumed_there(
        self, link: Link, place: Placement, text: bytes, caller: Caller
    ) -> bool:
        """Resume at the replica that has it; false: it has not, or is not there."""
        try:
            upstream, answered = await self._ask(place, caller, text)
        except OSError:
            self.directory.suspect(place.replica)
            return False
        except Refused as refused:
            if refused.code == "unknown_session":
                return False
            raise
        self._carry(link, upstream, answered, place, caller)
        return True

    async def _from_others(self, session: str, message: SessionResume) -> Relay | None:
        """What another gateway kept of a stream."""
        for url in await self.directory.gateways():
            with suppress(NoAnswer, ValueError):
                found = await call(
                    "POST",
                    f"{url}/fleet/hand-over/{session}",
                    headers=authorization(self._key, "gateway", session),
                    timeout_s=1.0,
                )
                if found.status == 200:
                    relay = _relay_of(found.body)
                    _check_token(relay, message)
                    return relay
        return None

    async def _resumed_elsewhere(
        self, link: Link, relay: Relay, message: SessionResume, text: bytes, caller: Caller
    ) -> None:
        """Give the stream, whose replica is lost, to another one."""
        session, epoch, besides = message.session_id, relay.epoch, {relay.replica}
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self.config.hello_timeout_s
        while loop.time() < until_s:
            place = await self.directory.move(session, epoch, relay.ready.model, besides)
            if place is None:
                await asyncio.sleep(ASK_EVERY_S)
                continue
            epoch = place.epoch
            relay.resumed_by(message.last_seq)
            try:
                adoption = relay.adoption(epoch, client=caller.client, alone=True)
                upstream = await give_and_greet(
                    place,
                    self._key,
                    adoption,
                    hello=caller.hello,
                    address=caller.address,
                    client=caller.client,
                )
                answered = await open_on(upstream, place, text)
            except OSError:
                besides.add(place.replica)
                continue
            self.directory.settle(session)
            kept = relay.uplink.again()
            self._carry(link, upstream, answered, place, caller, relay)
            for said in kept:
                upstream.send(said.data, is_text=said.is_text)
            self.moves.moved(0.0, planned=False)
            return
        raise UnknownSession("no other server goes on with the stream", field="session_id")

    def _carry(
        self,
        link: Link,
        upstream: Link,
        answered: bytes,
        place: Placement,
        caller: Caller,
        before: Relay | None = None,
    ) -> None:
        now_s = asyncio.get_running_loop().time()
        relay = Relay.opened(answered, epoch=place.epoch, replica=place.replica, now_s=now_s)
        if before is not None:
            relay.uplink = before.uplink
        link.say(answered)
        carrier = Carrier(
            relay,
            link,
            upstream,
            caller=caller,
            key=self._key,
            directory=self.directory,
            moves=self.moves,
            over=self._over,
        )
        self.carriers[carrier.session] = carrier
        self._clients[caller.client] += 1
        carrier.start()

    def _over(self, carrier: Carrier, may_resume: bool) -> None:
        self._lobby.held(asyncio.get_running_loop().time() - carrier.began_s)
        self._clients[carrier.caller.client] -= 1
        self._clients += Counter()
        if self.carriers.get(carrier.session) is carrier:
            del self.carriers[carrier.session]
        if may_resume:
            until_s = asyncio.get_running_loop().time() + carrier.relay.ready.grace_s
            self.parked[carrier.session] = Parked(carrier.relay, until_s)
            while len(self.parked) > PARKED_MOST:
                del self.parked[next(iter(self.parked))]

    async def _watch(self, link: Link, text: bytes, caller: Caller, share: Claims | None) -> None:
        if share is None:
            raise Unauthorized(
                "the token in hello is not that of a share link",
                field="token",
                hint="Send in hello.token what session.shared gave to who shares the stream.",
            )
        watcher = Watcher(share.session, caller, text, self._key, self.where_now, self._left)
        await watcher.start(link)
        self.watchers.add(watcher)

    def _left(self, watcher: Watcher) -> None:
        self.watchers.discard(watcher)

    async def where_now(self, session: str) -> Placement | None:
        """Where a stream is, first as who carries it knows."""
        carrier = self.carriers.get(session)
        if carrier is None:
            return await self.directory.where(session)
        replica = self.directory.replicas.get(carrier.relay.replica)
        if replica is None or carrier.relay.state != "live":
            return None
        return Placement(session, replica.name, replica.url, carrier.relay.epoch)

    def _check_quota(self, client: str) -> None:
        most = self.config.max_per_client
        if most is not None and self._clients[client] >= most:
            raise Capacity(
                f"one client may have {most} streams at once, and has them",
                hint="Close one of your streams first, or let it end.",
                retry_after_s=5.0,
            )

    # Time.

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        last_s = loop.time()
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            now_s = loop.time()
            if now_s - last_s > STALL_S + LOOK_EVERY_S:
                for carrier in self.carriers.values():
                    carrier.excuse(now_s - last_s)
            last_s = now_s
            for carrier in list(self.carriers.values()):
                carrier.look(now_s)
                replica = self.directory.replicas.get(carrier.relay.replica)
                if replica is not None and replica.condition == "draining":
                    carrier.move("the replica is drained", planned=True)
            for session, parked in list(self.parked.items()):
                if parked.until_s <= now_s:
                    del self.parked[session]
                    self.directory.release(session)


def _check_token(relay: Relay, message: SessionResume) -> None:
    if not secrets.compare_digest(relay.ready.resume_token.encode(), message.resume_token.encode()):
        raise WrongResumeToken("the resume_token does not belong to this session")
    if relay.journal.state is not None and message.last_seq >= relay.journal.state.frames:
        raise InvalidField(f"seq {message.last_seq} was never generated", field="last_seq")


def _relay_of(body: bytes) -> Relay:
    """A stream that another gateway had. Raises ValueError."""
    try:
        replica, epoch, records = msgspec.msgpack.decode(body, type=tuple[str, int, list[bytes]])
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from error
    journal = Journal()
    for record in records:
        journal.take(unpack_record(record))
    return Relay.of(journal, replica=replica, epoch=epoch)


def _replaced() -> bytes:
    return encode_message(answer(Replaced("the stream went on over another connection"))).encode()
