"""uvicorn's WebSocket, which also reads what a client had said before its connection broke."""

from __future__ import annotations

import asyncio
import socket
import ssl
from asyncio.trsock import TransportSocket
from collections.abc import Iterator
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

PIECE_BYTES = 65_536


class DrainingProtocol(WebSocketsSansIOProtocol):
    """Reads what has arrived before it acts on a connection that broke.

    asyncio stops reading at the first write that fails, and so would lose the `session.close` of a
    client that says it and cuts the connection. On a plain socket all that the system holds is
    read after the failure. Under TLS the socket is closed by the time we hear of it, and only what
    was decrypted can be read; so what has arrived is read before each write as well.
    """

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket and its TLS: a broken transport no longer tells them."""
        super().connection_made(transport)
        self._socket: TransportSocket = transport.get_extra_info("socket")
        self._tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")

    async def send(self, message: Any) -> None:
        """Send, after the event loop has read what had arrived until now."""
        if self._tls is not None and self._more_arrived():
            # Two turns: in the first the selector finds the socket after it has found this task.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        await super().send(message)

    def connection_lost(self, exc: Exception | None) -> None:
        """Hand on what is left of a broken connection, then report its end."""
        try:
            if exc is not None and self.handshake_initiated:
                for piece in self._unread():
                    self.data_received(piece)
        finally:
            super().connection_lost(exc)

    def _more_arrived(self) -> bool:
        try:
            with self._socket.dup() as sock:
                return bool(sock.recv(1, socket.MSG_PEEK))
        except OSError:
            return False

    def _unread(self) -> Iterator[bytes]:
        """Finite, because nothing more can arrive on a broken connection."""
        try:
            if self._tls is not None:
                while piece := self._tls.read(PIECE_BYTES):
                    yield piece
            else:
                with self._socket.dup() as sock:
                    while piece := sock.recv(PIECE_BYTES):
                        yield piece
        except OSError:  # ssl.SSLError is one
            return
