"""Every TCP connection from its acceptance to its end: how many, from whom, how silent.

A connection *waits* while it has no request that is being answered and no stream: during the TLS
handshake, while it sends a request, between two requests, and as a WebSocket before its stream is
open. There are limits to how many may wait and how long. Over a limit the one that has waited
longest makes room, so that nobody who connects and keeps silent shuts others out. A connection
also ends when its peer takes nothing of what it was sent, or does not let itself be closed.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from asyncio import Transport
from dataclasses import dataclass, replace
from typing import Any, Self

from .addresses import network_of
from .per_address import PerAddress

Peer = tuple[Any, ...]
"""An address and a port, as the operating system gives them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """How many connections there may be, and how long one may do nothing.

    `total` counts all of them, `websockets` those that became one, `waiting` those that wait, and
    `waiting_per_address` those of one address (an IPv6 address stands for its /64), of which
    `new_per_address_per_s` are taken. One may wait for `wait_s` and leave what it was sent
    untouched for `stall_s`; a connection that is being closed is gone after `stall_s`, too.
    """

    total: int = 4096
    websockets: int = 1024
    waiting: int = 3072
    waiting_per_address: int = 2048
    new_per_address_per_s: float = 200.0
    new_per_address_at_once: float = 2048.0
    wait_s: float = 10.0
    stall_s: float = 5.0

    def within(self, descriptors: int) -> Self:
        """These limits, or lower ones that leave a quarter of the process's files for others."""
        total = max(16, min(self.total, descriptors - max(64, descriptors // 4)))
        waiting = min(self.waiting, max(8, total // 2))
        return replace(
            self,
            total=total,
            websockets=min(self.websockets, total // 2),
            waiting=waiting,
            waiting_per_address=min(self.waiting_per_address, max(4, waiting // 2)),
        )


LEAVING = 32
"""Connections over the limit that may be on their way out while others come in."""
SOON_TAKEN = 32_768
"""Bytes; fewer than these may wait to be taken and become more without anybody stalling."""


class _Connection:
    """One of them. `until_s`: when its waiting ends; None: it is served."""

    __slots__ = (
        *("address", "closing", "moved_s", "peer", "sock", "transport", "unread", "until_s"),
        "websocket",
    )

    def __init__(self, peer: Peer, address: str, sock: socket.socket, until_s: float) -> None:
        self.peer = peer
        self.address = address
        self.sock = sock
        self.transport: Transport | None = None
        self.until_s: float | None = until_s
        self.closing = False
        self.websocket = False
        self.unread = 0
        """Bytes that wait to be taken by the peer, at the last look."""
        self.moved_s: float | None = None
        """When it was last seen to take some of them; None: nothing waits."""

    def end(self) -> None:
        """Now, whatever waits to be sent."""
        if self.transport is not None:
            self.transport.abort()
        else:  # in its TLS handshake: the transport reads the end and closes
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)


class Connections:
    """All that are open.

    For `trusted`, addresses or networks of proxies, no limit of one address holds.
    """

    def __init__(self, limits: ConnectionLimits, trusted: tuple[str, ...] = ()) -> None:
        self.limits = limits
        self._trusted = [ipaddress.ip_network(each, strict=False) for each in trusted]
        self._open: dict[Peer, _Connection] = {}
        self._waiting: dict[str, dict[Peer, _Connection]] = {}
        self._new = PerAddress(
            rate_per_s=limits.new_per_address_per_s, burst=limits.new_per_address_at_once
        )
        self.websockets = 0
        """How many are WebSockets."""
        self.refused = 0
        """How many were closed as they came."""
        self.ended = 0
        """How many were ended by a limit."""

    def __len__(self) -> int:
        return len(self._open)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(map(len, self._waiting.values()))

    def admit(self, sock: socket.socket, peer: Peer, now_s: float) -> bool:
        """Count a connection that was accepted; false: there is no room, close it."""
        address = network_of(str(peer[0]))
        if not self._trusts(address) and not self._new.of(address, now_s).take(now_s):
            self.refused += 1
            return False
        over = len(self._open) - self.limits.total
        if over >= 0 and (over >= LEAVING or not self._make_room()):
            self.refused += 1
            return False
        connection = _Connection(peer, address, sock, now_s + self.limits.wait_s)
        self._open[peer] = connection
        self._wait(connection)
        return True

    def made(self, peer: Peer, transport: Transport) -> None:
        """A connection has a transport, after its TLS handshake if it has one."""
        if (connection := self._open.get(peer)) is not None:
            connection.transport = transport

    def upgrade(self, peer: Peer) -> bool:
        """A connection becomes a WebSocket; false: there are as many as may be."""
        connection = self._open.get(peer)
        if self.websockets >= self.limits.websockets or connection is None:
            return False
        connection.websocket = True
        self.websockets += 1
        return True

    def served(self, peer: Peer) -> None:
        """A connection has a request that is answered, or a stream: it waits no more."""
        if (connection := self._open.get(peer)) is not None:
            self._wait_no_more(connection)

    def waits(self, peer: Peer, until_s: float) -> None:
        """A connection waits, from now on and no longer than `until_s`."""
        if (connection := self._open.get(peer)) is not None:
            self._wait_no_more(connection)
            connection.until_s = until_s
            self._wait(connection)

    def closed(self, peer: Peer, sock: socket.socket) -> None:
        """A connection is gone, and its descriptor with it."""
        connection = self._open.get(peer)
        if connection is not None and connection.sock is sock:
            del self._open[peer]
            self._wait_no_more(connection)
            self.websockets -= connection.websocket

    def sweep(self, now_s: float) -> None:
        """End what waits or stalls for too long; call about once a second."""
        for connection in list(self._open.values()):
            late = connection.until_s is not None and now_s >= connection.until_s
            if late or self._stalls(connection, now_s):
                self._end(connection)

    # Private.

    def _stalls(self, connection: _Connection, now_s: float) -> bool:
        """Whether it is past the time in which it should have taken something, or be closed."""
        transport = connection.transport
        if transport is None:
            return False
        before, unread = connection.unread, transport.get_write_buffer_size()
        if transport.is_closing():
            moves, connection.closing = not connection.closing, True
        else:
            moves = unread < before or before < unread <= SOON_TAKEN
        connection.unread = unread
        if not (unread or connection.closing):
            connection.moved_s = None
        elif connection.moved_s is None or moves:
            connection.moved_s = now_s
        return connection.moved_s is not None and now_s - connection.moved_s >= self.limits.stall_s

    def _trusts(self, address: str) -> bool:
        if not self._trusted:
            return False
        try:
            return any(ipaddress.ip_address(address) in each for each in self._trusted)
        except ValueError:  # the network of an IPv6 address, or no address
            return any(address == network_of(str(each.network_address)) for each in self._trusted)

    def _wait(self, connection: _Connection) -> None:
        mine = self._waiting.setdefault(connection.address, {})
        mine[connection.peer] = connection
        over = len(mine) > self.limits.waiting_per_address
        if over and not self._trusts(connection.address):
            self._end(next(iter(mine.values())))
        elif self.waiting > self.limits.waiting:
            self._make_room()

    def _wait_no_more(self, connection: _Connection) -> None:
        connection.until_s = None
        if (mine := self._waiting.get(connection.address)) is not None:
            mine.pop(connection.peer, None)
            if not mine:
                del self._waiting[connection.address]

    def _make_room(self) -> bool:
        """End the one that has waited longest of the address that has most; false: none waits."""
        if not self._waiting:
            return False
        most = max(self._waiting.values(), key=len)
        self._end(next(iter(most.values())))
        return True

    def _end(self, connection: _Connection) -> None:
        self._wait_no_more(connection)
        self.ended += 1
        connection.end()
