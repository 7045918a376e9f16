"""What a stream is shown over: a WebSocket, or a WebRTC peer that behaves like one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..metrics import Metrics
from ..protocol.client_messages import ClientMessage
from ..protocol.errors import StreamError
from ..protocol.messages import answer
from ..protocol.packets import Packet
from ..protocol.server_messages import ServerMessage
from ..session.arrivals import Arrival


class StreamSocket(Protocol):
    """Messages in both ways and packets out; all that ends it is raised by what waits for it.

    That is WebSocketDisconnect when the client is gone, and Timeout when it takes nothing.
    """

    kind: str
    """What it is, for the log."""

    @property
    def address(self) -> str:
        """Where the client is, as far as proxies that are trusted say."""
        ...

    @property
    def origin(self) -> str | None:
        """The Origin header."""
        ...

    @property
    def host(self) -> str | None:
        """The Host header."""
        ...

    def greeted(self) -> None:
        """The client has said hello and may send large messages from now on."""
        ...

    def in_line(self) -> None:
        """The client waits for a place, for as long as that takes."""
        ...

    def stream_opened(self) -> None:
        """The client has a stream and may send as much as a viewer does."""
        ...

    async def receive(self) -> ClientMessage | Packet | Arrival:
        """What comes next. Raises StreamError for a client's mistake."""
        ...

    async def say(self, message: ServerMessage) -> None:
        """Send a message."""
        ...

    def send_now(self, packets: Sequence[bytes]) -> bool:
        """Send packets if that needs no waiting; whether they were sent."""
        ...

    async def send(self, data: bytes) -> None:
        """Send a packet with its header."""
        ...

    async def refuse(self, error: StreamError) -> None:
        """Tell the client about an error; close the connection after a fatal one."""
        ...

    async def close(self, code: int, reason: str = "") -> None:
        """Close the connection, if the client has not."""
        ...


async def refuse(socket: StreamSocket, error: StreamError, metrics: Metrics) -> None:
    """What `StreamSocket.refuse` does over any connection; the error is counted."""
    metrics.errors.labels(error.code).inc()
    await socket.say(answer(error))
    if error.fatal:
        await socket.close(error.close_code, error.code)
