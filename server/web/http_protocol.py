"""uvicorn's HTTP, with limits on time, rate and headers, and an upgrade as the standards want it.

A request that is sent too slowly, or not at all, is ended by `Connections`; one that comes too
soon after others is read later.
"""

from __future__ import annotations

import asyncio
import math
import sys
from asyncio import BaseTransport, Transport
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from .addresses import network_of
from .connections import Connections
from .pace import AddressPaces, RequestPace
from .paced_protocol import PacedProtocol

MAX_HEAD_BYTES = 65_536
MAX_HANDSHAKE_LINE = 8_000
"""Bytes of a header that a WebSocket's handshake needs; its parser takes no more than 8192."""
MAX_HANDSHAKE_LINES = 64
WEBSOCKET_VERSION = b"13"
_ALWAYS = tuple(method + path for method in (b"GET ", b"HEAD ") for path in (b"/health", b"/ready"))
"""How requests begin that are answered however many others came from the same address."""
_FOR_HANDSHAKE = (b"host", b"origin", b"connection", b"upgrade", b"user-agent")
_FOR_HANDSHAKE_PREFIXES = (b"sec-websocket-", b"x-forwarded-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What all connections of a server share; `open_s` in which a WebSocket opens its stream.

    `websocket` makes the protocol of a connection that becomes one; none does while `closed_for_s`
    says for how long.
    """

    connections: Connections
    paces: AddressPaces
    open_s: float
    websocket: Callable[..., asyncio.Protocol] = PacedProtocol
    closed_for_s: Callable[[], float | None] = lambda: None


class HttpProtocol(H11Protocol):
    """One connection that speaks HTTP, until it becomes a WebSocket."""

    def __init__(self, *args: Any, gate: Gate, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._gate = gate
        self._held = b""
        """What arrived before it may be read."""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: BaseTransport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Begin to watch the connection."""
        transport = cast(Transport, transport)
        self._peer = transport.get_extra_info("peername")
        address = network_of(str(self._peer[0])) if self._peer else ""
        self._pace = RequestPace(address, self._gate.paces, self.loop.time())
        self._gate.connections.made(self._peer, transport)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what was held back."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read it, or hold it back until the pace permits."""
        self._held += data
        wait_s = self._wait_s()
        if wait_s > 0 or self._timer is not None:
            self.flow.pause_reading()
            self._later(wait_s, self._read_on)
            return
        self._read_on()

    def on_response_complete(self) -> None:
        """Wait for the next request, or read the one that has come if the pace permits."""
        self._pace.spend(self.loop.time())
        wait_s = self._pace.wait_s(self.loop.time())
        limit_s = self._gate.connections.limits.wait_s
        self._gate.connections.waits(self._peer, self.loop.time() + wait_s + limit_s)
        if wait_s > 0 and not self.transport.is_closing():
            self.flow.pause_reading()
            self._later(wait_s, self._next_request)
        else:
            self._next_request()

    def handle_events(self) -> None:
        """Read what has arrived; a request that is complete so far is served."""
        cycle = self.cycle
        super().handle_events()
        if self.cycle is not cycle and not self.cycle.response_complete:
            self._gate.connections.served(self._peer)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand a handshake over, with the headers that it needs, or refuse it at once."""
        needed = [(name, value) for name, value in self.headers if _needed(name)]
        version = dict(needed).get(b"sec-websocket-version", b"").strip()
        lines = [len(event.target), *(len(name) + len(value) for name, value in needed)]
        if version != WEBSOCKET_VERSION:
            why = "This server speaks version 13 of the WebSocket protocol (RFC 6455).\n"
            self._refuse(426, why, ((b"sec-websocket-version", WEBSOCKET_VERSION),))
        elif (
            len(lines) > MAX_HANDSHAKE_LINES
            or max([*lines, len(event.target)]) > MAX_HANDSHAKE_LINE
        ):
            self._refuse(431, "The headers of the WebSocket's handshake are too large.\n")
        elif (closed_s := self._gate.closed_for_s()) is not None:
            after = ((b"retry-after", str(math.ceil(closed_s)).encode()),)
            self._refuse(503, "No new streams are taken here at present.\n", after)
        elif not self._gate.connections.upgrade(self._peer):
            self._refuse(503, "There are too many WebSockets.\n", ((b"retry-after", b"10"),))
        else:
            self._hand_over(event, needed)

    def _should_upgrade(self) -> bool:
        # RFC 9110, 7.8: a server must ignore Upgrade in a request of HTTP/1.0
        return self.scope["http_version"] != "1.0" and super()._should_upgrade()

    def _unsupported_upgrade_warning(self) -> None:
        """Nothing worth a line in the log: what is not understood is ignored."""

    def _hand_over(self, event: h11.Request, headers: list[tuple[bytes, bytes]]) -> None:
        self.connections.discard(self)
        self._unset_keepalive_if_required()
        protocol = self._gate.websocket(
            config=self.config,
            server_state=self.server_state,
            app_state=self.app_state,
            paces=self._gate.paces,
            connections=self._gate.connections,
        )
        until_s = self.loop.time() + self._gate.open_s + self._gate.connections.limits.stall_s
        self._gate.connections.waits(self._peer, until_s)
        self._pace.spend(self.loop.time())
        lines = [b"%s: %s\r\n" % header for header in headers]
        head = b"".join([event.method, b" ", event.target, b" HTTP/1.1\r\n", *lines, b"\r\n"])
        protocol.connection_made(self.transport)
        self.transport.set_protocol(protocol)
        protocol.data_received(head)

    def _refuse(self, status: int, why: str, more: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        text = why.encode()
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", str(len(text)).encode()),
            (b"connection", b"close"),
            *more,
        ]
        if status == 426:
            headers.append((b"upgrade", b"websocket"))
        for part in (
            h11.Response(status_code=status, headers=headers),
            h11.Data(data=text),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(part) or b"")
        self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request, or has a head that is too large."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.close()
            return
        error = sys.exception()
        known = isinstance(error, h11.RemoteProtocolError)
        self._refuse(error.error_status_hint if known else 400, f"{msg}\n")

    # Private.

    def _wait_s(self) -> float:
        now_s = self.loop.time()
        if self._held.startswith(_ALWAYS):
            return self._pace.own_wait_s(now_s)
        return self._pace.wait_s(now_s)

    def _later(self, wait_s: float, call: Any) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(wait_s, call)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _read_on(self) -> None:
        self._stop_timer()
        data, self._held = self._held, b""
        self.flow.resume_reading()
        if data and not self.transport.is_closing():
            super().data_received(data)

    def _next_request(self) -> None:
        self._stop_timer()
        super().on_response_complete()
        if self._held:
            self._read_on()


def _needed(name: bytes) -> bool:
    return name in _FOR_HANDSHAKE or name.startswith(_FOR_HANDSHAKE_PREFIXES)
