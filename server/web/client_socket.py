"""A WebSocket that speaks our messages: parsed, rate limited and counted in, timed out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from starlette.websockets import (
    WebSocket,
    WebSocketDisconnect,
    WebSocketDisconnected,
    WebSocketState,
)

from ..engine.stall_watch import StallWatch
from ..metrics import Metrics
from ..protocol.client_messages import ClientMessage
from ..protocol.errors import StreamError, Timeout
from ..protocol.messages import encode_message
from ..protocol.packets import Kind, Packet
from ..protocol.server_messages import ServerMessage
from .inbox import Inbox
from .stream_socket import refuse

LEASE, FORWARDED_CLIENT = "x-forwarded-lease", "x-forwarded-client"
"""Headers of a gateway's handshake."""


class Wire(Protocol):
    """The connection below a socket."""

    def stream_opened(self) -> None:
        """It is a viewer from now on, which may send more than a stranger."""
        ...

    def in_line(self) -> None:
        """It waits for a place, for as long as that takes."""
        ...

    def send_now(self, packets: Sequence[bytes]) -> bool:
        """Send packets if that needs no waiting; whether they were sent."""
        ...

    def abort(self) -> None:
        """End it now, whatever waits to be sent."""
        ...


class ClientSocket:
    """One accepted socket; a send that stalls for `send_timeout_s` ends it and raises Timeout."""

    def __init__(
        self,
        socket: WebSocket,
        wire: Wire,
        metrics: Metrics,
        stalls: StallWatch,
        send_timeout_s: float,
    ) -> None:
        self._socket = socket
        self._wire = wire
        self._stalls = stalls
        self._metrics = metrics
        self._send_timeout_s = send_timeout_s
        now_s = asyncio.get_running_loop().time()
        self._inbox = Inbox(now_s)
        self._stalls = stalls
        self._inbox.forgive(stalls.stalled_s(now_s), now_s)

    kind = "websocket"

    @property
    def address(self) -> str:
        """Where the client is, as far as proxies that are trusted say."""
        return self._socket.client.host if self._socket.client else ""

    @property
    def origin(self) -> str | None:
        """The Origin header."""
        return self._socket.headers.get("origin")

    @property
    def host(self) -> str | None:
        """The Host header."""
        return self._socket.headers.get("host")

    @property
    def lease(self) -> str | None:
        """By what a gateway of the server's fleet comes."""
        return self._socket.headers.get(LEASE)

    @property
    def forwarded_client(self) -> str:
        """Whose quota counts, as that gateway says."""
        return self._socket.headers.get(FORWARDED_CLIENT, "")

    def greeted(self) -> None:
        """The client has said hello and may send large messages from now on."""
        self._inbox.greeted = True

    def stream_opened(self) -> None:
        """The client has a stream and may send as much as a viewer does."""
        self._wire.stream_opened()

    def in_line(self) -> None:
        """The client waits for a place, and no time limit of strangers holds."""
        self._wire.in_line()

    async def receive(self) -> ClientMessage | Packet:
        """The next message. Raises WebSocketDisconnect, or StreamError for a client's mistake."""
        try:
            event = await self._socket.receive()
        except WebSocketDisconnected as gone:
            raise WebSocketDisconnect(1006) from gone
        if event["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(event.get("code", 1005), event.get("reason"))
        now_s = asyncio.get_running_loop().time()
        self._inbox.forgive(self._stalls.stalled_s(now_s), now_s)
        try:
            with self._metrics.time("receive"):
                if event.get("text") is not None:
                    message = self._inbox.text(event["text"], now_s)
                else:
                    message = self._inbox.binary(event["bytes"], now_s)
        except StreamError as error:
            # Not "from error": raised from itself it would keep itself alive, and all this with it.
            raise self._inbox.mistake(error, now_s) from None
        self._metrics.messages.labels(_type(message)).inc()
        return message

    async def say(self, message: ServerMessage) -> None:
        """Send a message."""
        async with self._limit():
            await self._socket.send_text(encode_message(message))

    def send_now(self, packets: Sequence[bytes]) -> bool:
        """Send packets if that needs no waiting; whether they were sent."""
        return self._wire.send_now(packets)

    async def send(self, data: bytes) -> None:
        """Send a packet."""
        if self._wire.send_now((data,)):
            return
        async with self._limit():
            await self._socket.send_bytes(data)

    async def refuse(self, error: StreamError) -> None:
        """Tell the client about an error; close the socket after a fatal one."""
        await refuse(self, error, self._metrics)

    async def close(self, code: int, reason: str = "") -> None:
        """Close the socket, if the client has not."""
        if self._socket.application_state is WebSocketState.DISCONNECTED:
            return
        async with self._limit():
            await self._socket.close(code, reason)

    @asynccontextmanager
    async def _limit(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._send_timeout_s):
                yield
        except WebSocketDisconnected as gone:
            raise WebSocketDisconnect(1006) from gone
        except TimeoutError as stalled:
            self._wire.abort()
            raise Timeout(f"the client read nothing for {self._send_timeout_s:g} s") from stalled


def _type(message: ClientMessage | Packet) -> str:
    if isinstance(message, Packet):
        return "frame" if message.kind is Kind.VIDEO_IN else "audio"
    return message.type
