"""Carries one client's stream: between its socket and a replica, and to another replica if need be.

One mover per stream: whatever comes together, a lost socket, silence, a drain, moves it once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from ..logs import logger
from ..protocol.errors import EngineFailed
from ..protocol.messages import answer, encode_message
from .directory import Directory
from .http_call import NoAnswer
from .ledger import SILENT_S, Placement
from .link import CLOSE_GONE, CLOSING_S, Link
from .relay import Relay
from .upstream import GIVE_S, GREET_S, Refused, give_and_greet, let_go, open_on, resume_text

RETRY_S = 0.1
LET_GO_S = 1.0
TELL_AFTER_S = 0.3
"""A move that takes longer is told as `engine.restarting`."""
CLOSE_MOVED, CLOSE_DRAINING = 4490, 4503
_LOST = frozenset((1001, 1005, CLOSE_GONE, 1011, 1012, CLOSE_MOVED, CLOSE_DRAINING))
"""Closes by which a replica is lost; by others it ends the stream, or the client did."""
_CLOSE = b'"session.close"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Whose stream it is: the text of its hello, its address, and whose quota counts."""

    hello: bytes
    address: str
    client: str


@dataclass(slots=True)
class Moves:
    """What moves there were: how many of which kind, and how long the latest took."""

    failures: int = 0
    planned: int = 0
    given_up: int = 0
    took_s: list[float] = field(default_factory=list)

    def moved(self, took_s: float, *, planned: bool) -> None:
        """One more."""
        self.planned += planned
        self.failures += not planned
        self.took_s = [*self.took_s[-255:], took_s]


class Carrier:
    """One stream with a client; `over` is told of its end, and whether it may be resumed."""

    def __init__(
        self,
        relay: Relay,
        client: Link,
        upstream: Link,
        *,
        caller: Caller,
        key: str,
        directory: Directory,
        moves: Moves,
        over: Callable[[Carrier, bool], None],
    ) -> None:
        self.relay = relay
        self.caller = caller
        self._client = client
        self._upstream: Link | None = upstream
        self._key = key
        self._directory = directory
        self._moves = moves
        self._over = over
        self._mover: asyncio.Task[None] | None = None
        self._let_go = asyncio.Event()
        """Set when the replica has said all that it knows of the stream."""
        self._ended = False
        self._loop = asyncio.get_running_loop()
        self.began_s = self._loop.time()
        self._log = logger("rollcast.fleet")

    def start(self) -> None:
        """Carry from now on."""
        self._set_clock()
        self._client.hand_to(self._from_client, self._client_lost)
        self._hear()

    @property
    def session(self) -> str:
        """Its name."""
        return self.relay.ready.session_id

    @property
    def model(self) -> str:
        """The model that makes it."""
        return self.relay.ready.model

    def look(self, now_s: float) -> None:
        """Time passes: a replica that is silent is lost."""
        ack = self.relay.take_ack(now_s)
        if self._upstream is not None:
            if ack is not None:
                self._upstream.send(ack, is_text=True)
            self._upstream.flush()
        # what was read last may have been no message
        self._client.flush()
        if self.relay.silent(now_s):
            self._directory.suspect(self.relay.replica)
            self.move("silent")

    def excuse(self, stall_s: float) -> None:
        """The gateway itself stood still for so long."""
        self.relay.heard_s += stall_s

    def move(self, why: str, *, planned: bool = False) -> None:
        """Move the stream to another replica, unless that is under way."""
        if self._ended or self._mover is not None:
            return
        self._mover = asyncio.create_task(self._move(why, planned), name="move")

    def end(self, code: int, reason: str = "", text: bytes | None = None) -> None:
        """End the client's connection; it can resume if the code says so."""
        if text is not None:
            self._client.say(text)
        self._client.close(code, reason)
        self._finish(may_resume=code in (1001, 1012))

    def replaced(self) -> None:
        """The client has come by another socket, which takes the stream over from here."""
        self._finish(may_resume=True)

    # Both directions.

    def _from_client(self, data: bytes, is_text: bool) -> None:
        upstream, relay, more = self._upstream, self.relay, self._client.more
        now_s = self._loop.time() if is_text else 0.0
        if relay.from_client(data, is_text=is_text, now_s=now_s) and upstream is not None:
            ack = relay.take_ack(self._loop.time()) if relay.owes_ack and not more else None
            upstream.send(data, is_text=is_text, more=more or ack is not None)
            if ack is not None:
                upstream.send(ack, is_text=True)
        elif is_text and _CLOSE in data[:64]:
            self.end(1000)
        elif upstream is not None and not more:
            upstream.flush()

    def _from_replica(self, data: bytes, is_text: bool) -> None:
        now_s = self._loop.time()
        try:
            down = self.relay.from_replica(data, is_text=is_text, now_s=now_s)
        except ValueError as error:
            self._log.error("a journal breaks off", session_id=self.session, reason=str(error))
            return
        if down.data is not None:
            upstream = self._upstream
            more = upstream is not None and upstream.more
            self._client.send(down.data, is_text=is_text, more=more)
        elif self._upstream is None or not self._upstream.more:
            self._client.flush()
        if down.move:
            self.move("draining", planned=True)

    def _client_lost(self, code: int, reason: str) -> None:
        self._finish(may_resume=True)

    def _replica_lost(self, code: int, reason: str) -> None:
        self._upstream = None
        self._client.flush()
        self._let_go.set()
        if self._mover is not None:
            return
        if code in _LOST:
            self._directory.suspect(self.relay.replica)
            self.move(f"closed with {code}")
        else:
            self._client.close(code, reason)
            self._finish(may_resume=False)

    def _finish(self, *, may_resume: bool) -> None:
        if self._ended:
            return
        self._ended = True
        if self._mover is not None:
            self._mover.cancel()
        self._drop_upstream()
        self._client.let_go_soon(CLOSING_S)
        if may_resume:
            self.relay.park()
        else:
            self.relay.state = "ended"
            self._directory.release(self.session)
        self._over(self, may_resume)

    # Moving.

    async def _move(self, why: str, planned: bool) -> None:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        told = loop.call_later(TELL_AFTER_S, self._tell)
        self._log.info("stream moves", session_id=self.session, replica=self.relay.replica, why=why)
        try:
            if planned:
                await self._ask_to_let_go()
            self._drop_upstream()
            moved = self.relay.begin_move() and await self._find(began_s)
            if not moved:
                self._give_up()
                return
            took_s = loop.time() - began_s
            self._moves.moved(took_s, planned=planned)
            self._log.info(
                "stream moved",
                session_id=self.session,
                replica=self.relay.replica,
                took_ms=round(took_s * 1e3, 1),
            )
        except Exception:
            self._log.exception("a move failed", session_id=self.session)
            self._give_up()
        finally:
            told.cancel()
            self._mover = None
        if self._upstream is not None and self._upstream.closed is not None:
            self._replica_lost(self._upstream.closed.code, "")

    async def _ask_to_let_go(self) -> None:
        """Let the replica say all it knows; if it does not, it is left as one that is lost."""
        here = self._here()
        if here is None:
            return
        try:
            await let_go(here, self._key, LET_GO_S)
            async with asyncio.timeout(LET_GO_S):
                await self._let_go.wait()
        except (NoAnswer, TimeoutError) as error:
            self._log.warning("not let go", session_id=self.session, reason=str(error))

    async def _find(self, began_s: float) -> bool:
        """Give the stream to one replica after the other until one goes on with it."""
        loop, besides = asyncio.get_running_loop(), {self.relay.replica}
        until_s = began_s + self.relay.ready.grace_s
        epoch, patience_s = self.relay.epoch, GREET_S
        while loop.time() < until_s:
            place = await self._directory.move(self.session, epoch, self.model, besides)
            if place is None:
                # also to where it was, which may have lost nothing but a socket
                besides = set()
                await asyncio.sleep(RETRY_S)
                place = self._again(epoch)
                if place is None:
                    continue
            epoch = place.epoch
            try:
                await self._give(place, patience_s)
                return True
            except Refused as refused:
                why, hangs = str(refused), False
            except OSError as error:
                # one that has answered, but not as we like it, is well
                why, hangs = str(error), not isinstance(error, NoAnswer)
            besides.add(place.replica)
            # where all machines are busy, another one would hang as well
            patience_s = min(2 * patience_s, GIVE_S)
            if hangs:
                self._directory.suspect(place.replica)
            self._log.warning("a replica did not take it", session_id=self.session, reason=why)
        return False

    async def _give(self, place: Placement, patience_s: float) -> None:
        relay = self.relay
        now_s = asyncio.get_running_loop().time()
        adoption = relay.adoption(place.epoch, client=self.caller.client, now_s=now_s)
        upstream = await give_and_greet(
            place,
            self._key,
            adoption,
            hello=self.caller.hello,
            address=self.caller.address,
            client=self.caller.client,
            patience_s=patience_s,
        )
        first = resume_text(self.session, relay.ready.resume_token, relay.last_seq)
        text = await open_on(upstream, place, first)
        now_s = asyncio.get_running_loop().time()
        format_, again = relay.moved(text, epoch=place.epoch, replica=place.replica, now_s=now_s)
        self._directory.settle(self.session)
        self._upstream = upstream
        self._set_clock()
        self._client.say(format_)
        for said in again:
            upstream.send(said.data, is_text=said.is_text)
        self._hear()

    def _hear(self) -> None:
        upstream = self._upstream
        assert upstream is not None, "it was just opened"
        self._let_go = asyncio.Event()

        def lost(code: int, reason: str) -> None:
            if self._upstream is upstream:
                self._replica_lost(code, reason)

        upstream.hand_to(self._from_replica, lost)

    def _set_clock(self) -> None:
        replica = self._directory.replicas.get(self.relay.replica)
        if replica is not None and replica.heard_s:
            self.relay.clock(replica.clock_ms)

    def _here(self) -> Placement | None:
        replica = self._directory.replicas.get(self.relay.replica)
        if replica is None:
            return None
        return Placement(self.session, replica.name, replica.url, self.relay.epoch)

    def _again(self, epoch: int) -> Placement | None:
        """The place where the stream was, if its replica lives."""
        here = self._here()
        if here is None:
            return None
        heard_s = self._directory.replicas[here.replica].heard_s
        if asyncio.get_running_loop().time() - heard_s > SILENT_S:
            return None
        return Placement(here.session, here.replica, here.url, epoch + 1)

    def _drop_upstream(self) -> None:
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            # what was said last, right before an end that was read with it
            upstream.flush()
            upstream.let_go()

    def _tell(self) -> None:
        notice = {"type": "engine.restarting", "retry_after_s": 1.0}
        self._client.say(msgspec.json.encode(notice))

    def _give_up(self) -> None:
        self._moves.given_up += 1
        error = EngineFailed("no other server goes on with the stream")
        self._mover = None
        self.end(error.close_code, error.code, encode_message(answer(error)).encode())
