"""A WebSocket that is read no faster than its pace permits, and that no reader can fill up.

All frames count: pings and empty continuations cost the server as much as messages do. What has
arrived too early stays unparsed, and the connection is not read meanwhile.
"""

from __future__ import annotations

import asyncio
from asyncio import BaseTransport, Transport
from collections.abc import Sequence
from typing import Any, cast

from uvicorn._types import ASGIReceiveEvent
from uvicorn.protocols.utils import ClientDisconnected
from websockets.exceptions import InvalidState
from websockets.frames import Frame
from websockets.protocol import State

from .addresses import network_of
from .connections import Connections
from .draining_protocol import DrainingProtocol
from .frame_head import frame_head
from .pace import AddressPaces, FramePace

PIECE_BYTES = 4096
"""What is parsed at once: 682 empty frames."""
MAX_FRAGMENTS = 4096
"""Of one message; the largest one in frames of 256 bytes."""
WIRE = "rollcast.wire"
"""The name in an ASGI scope under which the application finds its connection."""


class PacedProtocol(DrainingProtocol):
    """One WebSocket; the application finds it in its scope as `WIRE`."""

    def __init__(
        self, *args: Any, paces: AddressPaces, connections: Connections, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._paces = paces
        self._connections = connections
        self._early = bytearray()
        """What arrived and is not parsed yet."""
        self._timer: asyncio.TimerHandle | None = None
        self._owed_pong = b""
        self._broken = False

    # For the application.

    def stream_opened(self) -> None:
        """It is a viewer from now on: it may send more, and does not wait to be served."""
        self._pace.stream_opened(self.loop.time())
        self._connections.served(self._peer)

    def in_line(self) -> None:
        """It waits for a place, and has not to hurry."""
        self._connections.served(self._peer)

    def send_now(self, packets: Sequence[bytes]) -> bool:
        """Send packets if that needs no waiting; whether they were sent.

        In one step, where the way through the application's interface takes twice the time.
        """
        ready = self.handshake_complete and self.writable.is_set() and self._tls is None
        if not ready or self.close_sent or self.disconnected or self.conn.state is not State.OPEN:
            return False
        self.transport.write(b"".join(b for each in packets for b in (frame_head(len(each)), each)))
        return True

    def abort(self) -> None:
        """End the connection now, whatever waits to be sent."""
        self.transport.abort()

    # For the event loop.

    def connection_made(self, transport: BaseTransport) -> None:
        """Begin to count."""
        super().connection_made(transport)
        self._peer = transport.get_extra_info("peername")
        address = network_of(str(self._peer[0])) if self._peer else ""
        self._pace = FramePace(address, self._paces, self.loop.time())
        self._connections.made(self._peer, cast(Transport, transport))

    def data_received(self, data: bytes) -> None:
        """Parse what may be parsed now and keep the rest."""
        if not self.handshake_initiated:
            super().data_received(data)
            if not self.handshake_initiated:  # its head was no handshake
                self.transport.write(b"".join(self.conn.data_to_send()))
                self.transport.close()
            return
        self._early += data
        self._read_on()

    def connection_lost(self, exc: Exception | None) -> None:
        """Hear what was said before the end, as far as the pace permits."""
        self._broken = True
        self._stop_timer()
        if self._early:
            self._read_on()
        super().connection_lost(exc)
        self._stop_timer()

    def resume_writing(self) -> None:
        """The peer has taken what it was sent: it gets the pong that it was owed."""
        super().resume_writing()
        pong, self._owed_pong = self._owed_pong, b""
        if pong and not self.transport.is_closing():
            self.transport.write(pong)

    # For uvicorn's protocol.

    def shutdown(self) -> None:
        """End with the server; who is just closing needs no other word."""
        try:
            super().shutdown()
        except InvalidState:
            self.transport.close()

    async def run_asgi(self) -> None:
        """Run the application."""
        cast(dict[str, Any], self.scope)[WIRE] = self
        await super().run_asgi()

    async def receive(self) -> ASGIReceiveEvent:
        """The next event; once all are taken, more is read."""
        message = await self.queue.get()
        if self.read_paused and self.queue.empty():
            self.read_paused = False
            self._read_on()
        return message

    async def send(self, message: Any) -> None:
        """Send; what comes after a close has no one to go to."""
        if self.close_sent:
            raise ClientDisconnected
        await super().send(message)
        if self.close_sent:
            self._read_on()  # the answer to the close may have come already

    def handle_ping(self) -> None:
        """Answer, but to a peer that reads nothing only the newest ping (RFC 6455, 5.5.3)."""
        # those of all the pings that were parsed together
        pongs = self.conn.data_to_send()
        if self.writable.is_set():
            self.transport.write(b"".join(pongs))
        elif pongs:
            self._owed_pong = pongs[-1]

    def handle_cont(self, event: Frame) -> None:
        """Take one more piece of a message."""
        if len(self.frames) >= MAX_FRAGMENTS:
            self._fail(1009, "too many fragments")
            return
        super().handle_cont(event)

    def send_receive_event_to_app(self) -> None:
        """Hand a message on; what is no UTF-8 ends the connection with 1007."""
        if self.curr_msg_data_type == "text":
            self.frames = [b"".join(self.frames)]
            try:
                self.frames[0].decode()
            except UnicodeDecodeError:
                self._fail(1007, "")
                return
        super().send_receive_event_to_app()

    # Private.

    def _read_on(self) -> None:
        """Parse piece by piece until the application has something to do, or it is too early."""
        if self._timer is not None:
            self.transport.pause_reading()  # uvicorn reads on when it closes
            return
        while self._early and self.conn.parser_exc is None:
            if self.read_paused and not self._broken:
                self.transport.pause_reading()
                return
            now_s = self.loop.time()
            wait_s = self._pace.wait_s(now_s)
            if wait_s > 0:
                if not self._broken:
                    self.transport.pause_reading()
                    self._timer = self.loop.call_later(wait_s, self._waited)
                return
            piece = bytes(self._early[:PIECE_BYTES])
            del self._early[:PIECE_BYTES]
            self._parse(piece, now_s)
        self._early.clear()
        if not (self.read_paused or self._broken):
            self.transport.resume_reading()

    def _parse(self, piece: bytes, now_s: float) -> None:
        self.conn.receive_data(piece)
        self._pace.spend(len(self.conn.events), len(piece), now_s)
        if self.conn.parser_exc is not None:
            self.handle_parser_exception()
        else:
            self.handle_events()

    def _waited(self) -> None:
        self._timer = None
        self._read_on()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fail(self, code: int, reason: str) -> None:
        self.frames = []
        if self.conn.parser_exc is None and not self.close_sent:
            self.conn.fail(code, reason)
            self.conn.parser_exc = ValueError(reason)
            self.handle_parser_exception()
