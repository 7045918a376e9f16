"""A client's WebSocket at the gateway: accepted by the server's HTTP, then read by picows.

It is read no faster than its pace permits, as one of a single server.
"""

from __future__ import annotations

import asyncio
from asyncio import BaseTransport, Transport
from collections.abc import Callable
from typing import Any, cast

from picows import (
    WSAutoPingStrategy,
    WSFrame,
    WSTransport,
    WSUpgradeRequest,
)
from picows.picows import WSProtocol  # pyright: ignore[reportAttributeAccessIssue]

from ..protocol.limits import MAX_SOCKET_BYTES
from ..web.addresses import network_of
from ..web.connections import Connections
from ..web.pace import AddressPaces, FramePace
from .gateway import Gateway
from .handshakes import Visitor
from .link import QUIET, Link

PING_S = 20.0
PATH = b"/v1/stream"
_BUFFER_BYTES = 16_384
_COUNT_EVERY = 16


class PacedLink(Link):
    """The link to a client, which is not read while it sends too much."""

    def __init__(self, address: str, paces: AddressPaces) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._pace = FramePace(address, paces, self._loop.time())
        self._timer: asyncio.TimerHandle | None = None
        self._read_frames = self._read_bytes = 0
        """Not counted yet."""
        self.gone: Callable[[], None] = lambda: None
        """Called when it is over."""

    def stream_opened(self) -> None:
        """It may send what a viewer sends."""
        self._pace.stream_opened(self._loop.time())

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """A frame came."""
        self._read_frames += 1
        self._read_bytes += frame.payload_size
        # what was read together is counted together, unless it is much
        if frame.last_in_buffer or self._read_frames >= _COUNT_EVERY:
            self._count(transport)
        super().on_ws_frame(transport, frame)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """It is over."""
        if self._timer is not None:
            self._timer.cancel()
        self.gone()
        super().on_ws_disconnected(transport)

    def _count(self, transport: WSTransport) -> None:
        wait_s = self._pace.read(self._read_frames, self._read_bytes, self._loop.time())
        self._read_frames = self._read_bytes = 0
        if wait_s > 0 and self._timer is None and not transport.is_disconnected:
            transport.underlying_transport.pause_reading()
            self._timer = self._loop.call_later(wait_s, self._read_on, transport)

    def _read_on(self, transport: WSTransport) -> None:
        self._timer = None
        if not transport.is_disconnected:
            transport.underlying_transport.resume_reading()


class ClientProtocol(asyncio.Protocol):
    """Takes a connection over from HTTP, with the head of its handshake."""

    def __init__(
        self,
        *,
        config: Any,
        server_state: Any,
        app_state: Any,
        paces: AddressPaces,
        connections: Connections,
        gateway: Gateway,
    ) -> None:
        """What uvicorn gives to each of its WebSocket protocols, and `gateway`."""
        self._open = server_state.connections
        self._paces = paces
        self._connections = connections
        self._gateway = gateway

    def connection_made(self, transport: BaseTransport) -> None:
        """Begin."""
        self._transport = cast(Transport, transport)
        self._peer = transport.get_extra_info("peername")
        self._connections.made(self._peer, self._transport)
        address = str(self._peer[0]) if self._peer else ""
        self._address = address
        self._link = PacedLink(network_of(address), self._paces)
        self._link.gone = self._gone
        self._open.add(self)

    def data_received(self, data: bytes) -> None:
        """The head of the handshake: from here on the connection is picows'."""
        protocol = WSProtocol(
            None,
            None,
            False,
            self._listener,
            QUIET,
            True,
            None,
            True,
            PING_S,
            PING_S,
            WSAutoPingStrategy.PING_PERIODICALLY,
            True,
            MAX_SOCKET_BYTES,
            None,
            _BUFFER_BYTES,
        )
        protocol.connection_made(self._transport)
        self._transport.set_protocol(protocol)
        while data and not self._transport.is_closing():
            room = protocol.get_buffer(-1)
            piece, data = data[: len(room)], data[len(room) :]
            room[: len(piece)] = piece
            protocol.buffer_updated(len(piece))

    def shutdown(self) -> None:
        """The server ends."""
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over before it was a WebSocket."""
        self._gone()

    def _gone(self) -> None:
        self._open.discard(self)

    def _listener(self, request: WSUpgradeRequest) -> Link | None:
        if bytes(request.path).partition(b"?")[0] != PATH:
            return None
        headers = request.headers
        forwarded = headers.get("x-forwarded-for", "").split(",")[-1].strip()
        trusted = self._address in self._gateway.config.trusted_proxies
        visitor = Visitor(
            address=forwarded if forwarded and trusted else self._address,
            origin=headers.get("origin"),
            host=headers.get("host"),
        )
        opened = asyncio.Event()
        self._gateway.serve(self._link, visitor, opened)
        watch = asyncio.create_task(self._served(opened), name="opened")
        self._gateway.keep(watch)
        return self._link

    async def _served(self, opened: asyncio.Event) -> None:
        await opened.wait()
        self._link.stream_opened()
        self._connections.served(self._peer)
