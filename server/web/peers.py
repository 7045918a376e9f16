"""All WebRTC peers of a server: how many, from whom, and what serves each until it ends."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from ..protocol.errors import Capacity, RateLimited
from .addresses import network_of
from .per_address import PerAddress

RETRY_S = 2.0
CLOSE_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerLimits:
    """Each peer has sockets and tasks of its own, so there are fewer of them than connections.

    An address (an IPv6 address stands for its /64) offers `new_per_address_per_s` on average.
    """

    total: int = 256
    per_address: int = 64
    new_per_address_per_s: float = 2.0
    new_per_address_at_once: float = 20.0


class Candidates(Protocol):
    """What a trickled fragment is given to."""

    @property
    def ice_user(self) -> str | None:
        """The user fragment of the offer."""
        ...

    async def add_candidates(self, candidates: list) -> None:
        """Further ways to the peer."""
        ...

    async def close(self) -> None:
        """Let go of it."""
        ...


@dataclass(slots=True)
class Entry:
    """One peer under the name that its resource has."""

    name: str
    etag: str
    address: str
    peer: Candidates
    task: asyncio.Task[None] | None = None


class Peers:
    """Those that were answered and have not ended."""

    def __init__(self, limits: PeerLimits) -> None:
        self.limits = limits
        self._entries: dict[str, Entry] = {}
        self._new = PerAddress(
            rate_per_s=limits.new_per_address_per_s, burst=limits.new_per_address_at_once
        )

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, name: str) -> Entry | None:
        """The peer of a resource."""
        return self._entries.get(name)

    def admit(self, host: str, now_s: float) -> str:
        """The address that a new peer of `host` counts for. Raises RateLimited or Capacity."""
        address = network_of(host)
        bucket = self._new.of(address, now_s)
        if not bucket.take(now_s):
            wait_s = round(bucket.wait_s(now_s, 1), 1)
            raise RateLimited("too many offers came from this address", retry_after_s=wait_s)
        mine = sum(each.address == address for each in self._entries.values())
        if len(self._entries) >= self.limits.total or mine >= self.limits.per_address:
            raise Capacity("there are as many WebRTC peers as may be", retry_after_s=RETRY_S)
        return address

    def add(self, address: str, peer: Candidates) -> Entry:
        """Keep a peer, which is served by what `serve` is given."""
        name = secrets.token_urlsafe(16)
        entry = Entry(name, f'"{secrets.token_urlsafe(6)}"', address, peer)
        self._entries[name] = entry
        return entry

    def serve(self, entry: Entry, work: Callable[[], Awaitable[None]]) -> None:
        """Do this for the peer; at its end, and whatever is raised, the peer is closed."""

        async def run() -> None:
            try:
                await work()
            finally:
                await self.drop(entry)

        entry.task = asyncio.create_task(run(), name="peer")

    async def drop(self, entry: Entry) -> None:
        """Let go of a peer that is not served any more."""
        self._entries.pop(entry.name, None)
        await asyncio.shield(entry.peer.close())

    async def close(self) -> None:
        """End all of them."""
        tasks = [each.task for each in self._entries.values() if each.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_S)
