"""Which replica has which stream, and which has room: pure, with the time passed in.

A place is reserved when it is acquired, and free again if nothing came of it in time. What a
replica says of itself was so when it was asked: a stream that was opened there since is not in it,
and counts. A stream has an epoch, which grows whenever it is given to another replica: who comes
with an older one is late.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Literal

RESERVED_S = 10.0
SILENT_S = 3.0
"""After so long without a word a replica is given no new stream."""
FRESH_S = 1.0
"""A stream that is moved goes to a replica that was heard within this time, if there is one: where
a machine hangs, so do the others on it."""
SUSPECT_S = 5.0
"""So long a replica is given no stream that somebody has just lost one at."""

Condition = Literal["starting", "ready", "draining", "lost"]


@dataclass(slots=True)
class Replica:
    """A server with `places` for streams, of which `free` were free when it was last heard."""

    name: str
    url: str
    condition: Condition = "starting"
    models: tuple[str, ...] = ()
    places: int = 0
    free: int = 0
    chunk_s: float = 0.0
    heard_s: float = 0.0
    asked_s: float = 0.0
    """When it was asked for what it has said of itself."""
    suspect_until_s: float = 0.0
    pid: int = 0
    """Its process, on its machine."""
    clock_ms: float = 0.0
    """How far its clock is before that of who hears it."""
    streams: dict[str, int] = field(default_factory=dict)
    """Those that it says it has, and their epochs."""
    attached: int = 0
    """How many of them a client sees."""


@dataclass(frozen=True, slots=True)
class Placement:
    """A stream is at this replica, in this epoch."""

    session: str
    replica: str
    url: str
    epoch: int


@dataclass(slots=True)
class _Stream:
    replica: str
    epoch: int
    until_s: float | None
    """Until when its place is reserved; None: it is settled."""
    since_s: float
    """When it was reserved or settled: who was asked before that cannot have said it."""

    def is_there(self, now_s: float) -> bool:
        """Whether it has a place that its replica has not spoken of."""
        return self.until_s is None or self.until_s > now_s


class Ledger:
    """Replicas by name, streams by session id."""

    def __init__(self) -> None:
        self.replicas: dict[str, Replica] = {}
        self._streams: dict[str, _Stream] = {}

    def __len__(self) -> int:
        return len(self._streams)

    def add(self, name: str, url: str) -> Replica:
        """A replica that may be there, at this address."""
        known = self.replicas.get(name)
        if known is None or known.url != url:
            known = self.replicas[name] = Replica(name, url)
        return known

    def remove(self, name: str) -> None:
        """A replica is gone for good, and its streams with it."""
        self.replicas.pop(name, None)
        for session in [key for key, each in self._streams.items() if each.replica == name]:
            del self._streams[session]

    def hear(
        self,
        name: str,
        *,
        ready: bool,
        draining: bool,
        models: Collection[str],
        places: int,
        free: int,
        chunk_s: float,
        streams: Iterable[tuple[str, int, bool]],
        now_s: float,
        asked_s: float | None = None,
        clock_ms: float = 0.0,
        pid: int = 0,
    ) -> list[str]:
        """A replica says how it is; returns those of its streams that were given to others since.

        `streams` are session, epoch and whether a client is there; it was asked at `asked_s`.
        """
        replica, said = self.replicas[name], list(streams)
        if replica.condition != "draining" or draining:
            replica.condition = "draining" if draining else "ready" if ready else "starting"
        replica.models, replica.chunk_s = tuple(models), chunk_s
        replica.clock_ms, replica.pid = clock_ms, pid
        replica.places, replica.free, replica.heard_s = places, free, now_s
        replica.asked_s = now_s if asked_s is None else asked_s
        replica.streams = {session: epoch for session, epoch, _ in said}
        replica.attached = sum(attached for _, _, attached in said)
        stale: list[str] = []
        for session, epoch in replica.streams.items():
            known = self._streams.get(session)
            if known is None or epoch > known.epoch:
                self._streams[session] = _Stream(name, epoch, None, now_s)
            elif known.replica == name and epoch == known.epoch:
                known.until_s = None
            elif epoch < known.epoch:
                stale.append(session)
        for session, each in list(self._streams.items()):
            if each.replica != name or session in replica.streams:
                continue
            ended = each.until_s is None and each.since_s < replica.asked_s
            if ended or not each.is_there(now_s):
                del self._streams[session]
        return stale

    def acquire(
        self, session: str, model: str | None, now_s: float, *, besides: Collection[str] = ()
    ) -> Placement | None:
        """Reserve a place for a new stream, or one that is lost; None: there is none now."""
        chosen = self._choose(model, besides, now_s)
        if chosen is None:
            return None
        known = self._streams.get(session)
        epoch = 0 if known is None else known.epoch + 1
        self._streams[session] = _Stream(chosen.name, epoch, now_s + RESERVED_S, now_s)
        return Placement(session, chosen.name, chosen.url, epoch)

    def move(
        self,
        session: str,
        epoch: int,
        model: str | None,
        now_s: float,
        *,
        besides: Collection[str] = (),
    ) -> Placement | None:
        """Reserve a place elsewhere for a stream that its gateway knows in `epoch`.

        None: there is no place, or the stream was moved since by somebody else.
        """
        known = self._streams.get(session)
        if known is not None and known.epoch > epoch:
            return None
        here = set(besides) | ({known.replica} if known is not None else set())
        chosen = self._choose(model, here, now_s, fresh_s=FRESH_S)
        if chosen is None:
            return None
        self._streams[session] = _Stream(chosen.name, epoch + 1, now_s + RESERVED_S, now_s)
        return Placement(session, chosen.name, chosen.url, epoch + 1)

    def settle(self, session: str, now_s: float) -> None:
        """The stream is where its place was reserved."""
        if (known := self._streams.get(session)) is not None:
            known.until_s, known.since_s = None, now_s

    def full(self, name: str) -> None:
        """A replica has refused a stream for want of room; it says when it has some again."""
        if (replica := self.replicas.get(name)) is not None:
            replica.free = 0

    def release(self, session: str) -> None:
        """The stream is over, or its place is not wanted."""
        self._streams.pop(session, None)

    def suspect(self, name: str, now_s: float) -> None:
        """Somebody has lost a stream there."""
        if (replica := self.replicas.get(name)) is not None:
            replica.suspect_until_s = now_s + SUSPECT_S

    def drain(self, name: str) -> bool:
        """Give a replica nothing more; whether there is such a one."""
        replica = self.replicas.get(name)
        if replica is None:
            return False
        replica.condition = "draining"
        return True

    def where(self, session: str) -> Placement | None:
        """Where a stream is."""
        known = self._streams.get(session)
        replica = None if known is None else self.replicas.get(known.replica)
        if known is None or replica is None:
            return None
        return Placement(session, replica.name, replica.url, known.epoch)

    def usable(self, replica: Replica, now_s: float) -> bool:
        """Whether it may be given a stream, if it has room."""
        heard = now_s - replica.heard_s < SILENT_S
        return replica.condition == "ready" and heard and now_s >= replica.suspect_until_s

    def free(self, replica: Replica, now_s: float) -> int:
        """Places that are neither taken nor reserved."""
        unsaid = sum(
            each.replica == replica.name and each.is_there(now_s) and session not in replica.streams
            for session, each in self._streams.items()
        )
        return max(0, replica.free - unsaid)

    def total_free(self, now_s: float) -> int:
        """Free places of all that are usable."""
        usable = (each for each in self.replicas.values() if self.usable(each, now_s))
        return sum(self.free(each, now_s) for each in usable)

    def forget(self, now_s: float) -> None:
        """Reservations of which nothing came, at replicas that say nothing."""
        for session, each in list(self._streams.items()):
            if not each.is_there(now_s):
                del self._streams[session]

    def _choose(
        self, model: str | None, besides: Collection[str], now_s: float, fresh_s: float = SILENT_S
    ) -> Replica | None:
        """The one with the most room, if there are such of those that were heard in `fresh_s`."""
        rooms = [
            (now_s - each.heard_s < fresh_s, self.free(each, now_s), each.name)
            for each in self.replicas.values()
            if self.usable(each, now_s)
            and each.name not in besides
            and (model is None or not each.models or model in each.models)
        ]
        _, _, name = max((each for each in rooms if each[1] > 0), default=(False, 0, ""))
        return self.replicas.get(name)
