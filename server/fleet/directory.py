"""Whom a gateway asks for places: its own ledger of replicas that it looks at twice a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any, Protocol

import msgspec

from ..handover.lease import LEASE_S, Lease, Role
from ..handover.replica_state import ReplicaState
from ..logs import logger
from .http_call import NoAnswer, call
from .ledger import Ledger, Placement, Replica

LOOK_EVERY_S = 0.5
PATIENCE_S = 1.5


class Directory(Protocol):
    """Knows the replicas, and gives places."""

    @property
    def replicas(self) -> Mapping[str, Replica]:
        """All that there are, by name."""
        ...

    async def acquire(self, session: str, model: str | None) -> Placement | None:
        """A place for a new stream; None: there is none now."""
        ...

    async def move(
        self, session: str, epoch: int, model: str | None, besides: Collection[str]
    ) -> Placement | None:
        """A place elsewhere for a stream that is in `epoch`; None: there is none now."""
        ...

    async def where(self, session: str) -> Placement | None:
        """Where a stream is, if anybody knows."""
        ...

    async def gateways(self) -> list[str]:
        """Where the other gateways are, which may have kept a stream."""
        ...

    def position(self, session: str) -> int | None:
        """Where one who waits stands in the line of the whole fleet, if somebody knows."""
        ...

    def settle(self, session: str) -> None:
        """The stream is where its place was given."""
        ...

    def release(self, session: str) -> None:
        """The stream is over, or its place not wanted."""
        ...

    def suspect(self, replica: str) -> None:
        """A stream was lost there."""
        ...

    def full(self, replica: str) -> None:
        """It has refused a stream for want of room."""
        ...


_STATE = msgspec.json.Decoder(ReplicaState)


def authorization(
    key: str, replica: str, session: str = "", epoch: int = 0, role: Role = "keeper"
) -> dict[str, str]:
    """The header of a request to a replica."""
    lease = Lease(session, role, replica, epoch, time.time() + LEASE_S)
    return {"authorization": f"Bearer {lease.token(key)}"}


class LocalDirectory:
    """A ledger, and a look at each of its replicas every `look_every_s`."""

    def __init__(
        self, key: str, *, look_every_s: float = LOOK_EVERY_S, gateways: Iterable[str] = ()
    ) -> None:
        """`gateways` are where the others are."""
        self.ledger = Ledger()
        self._gateways = list(gateways)
        self._key = key
        self._look_every_s = look_every_s
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._log = logger("rollcast.fleet")

    @property
    def replicas(self) -> Mapping[str, Replica]:
        """See `Directory`."""
        return self.ledger.replicas

    def now_s(self) -> float:
        """The clock of the ledger."""
        return asyncio.get_running_loop().time()

    def add(self, name: str, url: str) -> None:
        """Look at a replica from now on."""
        self.ledger.add(name, url)
        if name not in self._tasks:
            self._tasks[name] = asyncio.create_task(self._look_at(name), name=f"look at {name}")

    def remove(self, name: str) -> None:
        """It is gone."""
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()
        self.ledger.remove(name)

    async def close(self) -> None:
        """Look at none any more."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def acquire(self, session: str, model: str | None) -> Placement | None:
        """See `Directory`."""
        return self.ledger.acquire(session, model, self.now_s())

    async def move(
        self, session: str, epoch: int, model: str | None, besides: Collection[str]
    ) -> Placement | None:
        """See `Directory`."""
        return self.ledger.move(session, epoch, model, self.now_s(), besides=besides)

    async def where(self, session: str) -> Placement | None:
        """See `Directory`."""
        return self.ledger.where(session)

    async def gateways(self) -> list[str]:
        """See `Directory`."""
        return self._gateways

    def position(self, session: str) -> int | None:
        """See `Directory`: nobody knows of other lines."""
        return None

    def settle(self, session: str) -> None:
        """See `Directory`."""
        self.ledger.settle(session, self.now_s())

    def release(self, session: str) -> None:
        """See `Directory`."""
        self.ledger.release(session)

    def suspect(self, replica: str) -> None:
        """See `Directory`."""
        self.ledger.suspect(replica, self.now_s())

    def full(self, replica: str) -> None:
        """See `Directory`."""
        self.ledger.full(replica)

    async def look(self, name: str) -> bool:
        """Ask a replica how it is; whether it answered."""
        replica = self.ledger.replicas[name]
        asked_s = self.now_s()
        try:
            answer = await call(
                "GET",
                f"{replica.url}/fleet/state",
                headers=authorization(self._key, name),
                timeout_s=PATIENCE_S,
            )
            if answer.status != 200:
                raise NoAnswer(f"{name} answered {answer.status} {answer.body[:100]!r}")
            state = _STATE.decode(answer.body)
        except (NoAnswer, msgspec.DecodeError) as error:
            self._log.debug("a replica says nothing", replica=name, reason=str(error))
            return False
        if self.ledger.replicas.get(name) is not replica:
            return False
        now_s = self.now_s()
        stale = self.ledger.hear(
            name,
            **heard(state),
            now_s=now_s,
            asked_s=asked_s,
            clock_ms=state.clock_ms - (asked_s + now_s) * 500,
        )
        for session in stale:
            await self._free(replica, session, replica.streams[session])
        return True

    async def _free(self, replica: Replica, session: str, epoch: int) -> None:
        """Let a replica forget a stream that was moved while it was away."""
        with suppress(NoAnswer):
            await call(
                "POST",
                f"{replica.url}/fleet/release/{session}",
                headers=authorization(self._key, replica.name, session, epoch),
                timeout_s=PATIENCE_S,
            )

    async def _look_at(self, name: str) -> None:
        while True:
            try:
                await self.look(name)
            except Exception:
                self._log.exception("a look at a replica failed", replica=name)
            await asyncio.sleep(self._look_every_s)


def heard(state: ReplicaState) -> dict[str, Any]:
    """What a ledger hears of a replica."""
    return {
        "pid": state.pid,
        "ready": state.ready,
        "draining": state.draining,
        "models": state.models,
        "places": state.places,
        "free": state.free,
        "chunk_s": state.chunk_s,
        "streams": [(each.session, each.epoch, each.attached) for each in state.streams],
    }
