"""The listening socket: it counts what it accepts, and accepts no more than there is room for."""

from __future__ import annotations

import socket
import time
from typing import Any

from .connections import Connections, Peer

BACKLOG = 2048
"""Connections that the operating system keeps for us while we are busy."""
SILENCE_S = 1
"""How long Linux keeps a connection to itself on which nothing was said; who says something at
once is accepted at once."""
SEND_BUFFER_BYTES = 262_144
"""What the system takes of a connection that nobody reads; by itself it takes megabytes."""
REFUSED_AT_ONCE = 64
"""Connections that one call of `accept` may refuse before the event loop has its turn again."""


def open_listener(host: str, port: int) -> socket.socket:
    """A socket that listens at an address; `::` takes IPv4 as well. Raises OSError.

    What it accepts sends at once: a packet behind another one would else wait until the peer has
    acknowledged that, which a system may put off for 40 ms. asyncio says so only of sockets whose
    protocol is named, and those of `create_server` name none.
    """
    if ":" not in host:
        listener = socket.create_server((host, port), backlog=BACKLOG)
    else:
        both = host == "::" and socket.has_dualstack_ipv6()
        listener = socket.create_server(
            (host, port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=both
        )
    # inherited by what is accepted
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


class CountingListener(socket.socket):
    """A listening socket that tells `connections` of each connection and of its end."""

    def __init__(self, listener: socket.socket, connections: Connections) -> None:
        super().__init__(listener.family, listener.type, listener.proto, fileno=listener.detach())
        self.setblocking(False)
        # inherited by what is accepted
        self.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        if hasattr(socket, "TCP_DEFER_ACCEPT"):
            self.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, SILENCE_S)
        self._connections = connections

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection for which there is room. Raises BlockingIOError if there is none."""
        for _ in range(REFUSED_AT_ONCE):
            sock, peer = super().accept()
            counted = _CountedSocket(sock, peer, self._connections)
            if self._connections.admit(counted, peer, time.monotonic()):
                return counted, peer
            counted.close()
        raise BlockingIOError


class _CountedSocket(socket.socket):
    """An accepted connection."""

    def __init__(self, sock: socket.socket, peer: Peer, connections: Connections) -> None:
        super().__init__(sock.family, sock.type, sock.proto, fileno=sock.detach())
        self._peer = peer
        self._connections = connections

    def dup(self) -> socket.socket:
        """A plain socket for the same connection, which is not counted."""
        return socket.fromfd(self.fileno(), self.family, self.type, self.proto)

    def close(self) -> None:
        """Free the descriptor."""
        self._connections.closed(self._peer, self)
        super().close()
