"""One WebSocket: the handshake, then typed messages in both directions."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_socket
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidProxy,
    InvalidStatus,
    InvalidURI,
    ProxyError,
)

from .address import Address, may_take_proxy, stream_url
from .errors import ClientError, Disconnected, ProtocolError, Refused
from .messages import (
    ClientHello,
    ErrorNotice,
    Outgoing,
    Queued,
    ServerHello,
    ServerMessage,
    SessionCreate,
    SessionReady,
    SessionResume,
    SessionWatch,
    SessionWatching,
    parse_server,
)
from .wire import PROTOCOL_VERSION, Packet, unpack

OPEN_TIMEOUT_S = 10.0
MAX_MESSAGE_BYTES = 16 << 20
Answer = TypeVar("Answer", ServerHello, SessionReady, SessionWatching)
_PROXY_HINT = "Correct http_proxy, https_proxy or all_proxy, or name the host in no_proxy."
_HTTP_HINTS = {
    401: "A proxy in front of the server wants a login that this client does not have.",
    403: "Is it the address of the page? A server refuses strange hosts (--allow-host).",
    407: _PROXY_HINT,
    421: "Use the address that the server printed, or start it with --allow-host.",
    431: "Something on the way adds long headers.",
    503: "The server or what is behind the proxy is not up; try again later.",
}
_NO_UPGRADE = (
    "Is it the address of the page? A proxy on the way has to pass the headers Upgrade and "
    "Connection on."
)


class Channel:
    """An open socket whose hello has been answered; `receive` and `send` are all it does."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self.hello: ServerHello | None = None

    @classmethod
    async def open(cls, address: Address) -> Self:
        """Connect and greet.

        Raises Refused, Disconnected, ProtocolError, ValueError for what is no address, or OSError
        for no server there.
        """
        channel = cls(await _connect(address))
        try:
            greeting = ClientHello(
                versions=[PROTOCOL_VERSION],
                client=f"rollcast-python/{_version()}",
                codecs=list(address.codecs),
                audio=address.audio,
                audio_codecs=[address.audio_codec],
                token=address.secret,
            )
            channel.hello = await channel.ask(greeting, ServerHello)
        except BaseException:
            await channel.close()
            raise
        return channel

    async def start(
        self, request: SessionCreate | SessionResume, note: Callable[[Queued], None] | None = None
    ) -> SessionReady:
        """Open or resume a stream; media comes next. Raises Refused with the server's reason.

        While the client waits in the line, `note` is given what it is told.
        """
        return await self.ask(request, SessionReady, note)

    async def watch(self, request: SessionWatch) -> SessionWatching:
        """Watch a stream; media comes next. Raises Refused with the server's reason."""
        return await self.ask(request, SessionWatching)

    async def ask(
        self,
        message: Outgoing,
        answer: type[Answer],
        note: Callable[[Queued], None] | None = None,
    ) -> Answer:
        """Send, and wait for a message of this type."""
        await self.send(message)
        while True:
            reply = await self.receive()
            if isinstance(reply, answer):
                return reply
            if isinstance(reply, ErrorNotice):
                raise refusal(reply)
            if isinstance(reply, Queued) and note is not None:
                note(reply)

    async def send(self, message: Outgoing | bytes) -> None:
        """Send one message. Raises Disconnected when the socket is gone."""
        try:
            await self._socket.send(message if isinstance(message, bytes) else message.to_json())
        except ConnectionClosed as closed:
            raise _lost(closed) from closed

    async def receive(self) -> ServerMessage | Packet:
        """The next message that this client knows. Raises Disconnected when the socket is gone."""
        while True:
            try:
                data = await self._socket.recv()
            except ConnectionClosed as closed:
                raise _lost(closed) from closed
            message = parse_server(data) if isinstance(data, str) else unpack(data)
            if message is not None:
                return message

    async def close(self) -> None:
        """Close the socket; harmless when it is closed."""
        await self._socket.close()


def refusal(notice: ErrorNotice) -> Refused:
    """The exception for a server's error message."""
    return Refused(
        notice.code, notice.message, hint=notice.hint, retry_after_s=notice.retry_after_s
    )


async def _connect(address: Address) -> ClientConnection:
    url = stream_url(address.url)
    # for people: without what may be a secret in it
    shown = urlsplit(url)._replace(query="").geturl()
    # given only where it is needed, so that a redirect to https finds none in its way
    tls: dict[str, Any] = {"ssl": address.tls} if address.tls and url.startswith("wss:") else {}
    try:
        return await open_socket(
            url,
            proxy=True if may_take_proxy(url) else None,
            compression=None,
            max_size=MAX_MESSAGE_BYTES,
            open_timeout=OPEN_TIMEOUT_S,
            close_timeout=1.0,
            **tls,
        )
    except (InvalidProxy, ProxyError, ImportError) as error:
        raise ProtocolError(f"the proxy on the way to {shown}: {error}. {_PROXY_HINT}") from error
    except (InvalidHandshake, InvalidURI) as error:
        raise _no_socket(shown, error) from error
    except (OSError, ValueError) as error:
        if not may_take_proxy(url):
            raise
        raise ProtocolError(
            f"cannot reach {shown} by way of a proxy: {error}. {_PROXY_HINT}"
        ) from error


def _no_socket(url: str, error: InvalidHandshake | InvalidURI) -> ClientError:
    """Why what answered there opened no WebSocket."""
    if isinstance(error, InvalidStatus):
        code = error.response.status_code
        message = f"{url} answered HTTP {code} in place of a WebSocket"
        hint = _HTTP_HINTS.get(code, _NO_UPGRADE)
        return Refused(f"http_{code}", message, hint=hint, retry_after_s=None)
    if isinstance(error, InvalidMessage):
        return ProtocolError(f"{url} does not speak HTTP: is it https, or another program?")
    return ProtocolError(f"{url} does not speak WebSocket: {error}. {_NO_UPGRADE}")


def _lost(closed: ConnectionClosed) -> Disconnected:
    frame = closed.rcvd
    return Disconnected(
        f"the server closed the socket ({frame.code} {frame.reason})".replace(" )", ")")
        if frame
        else "the socket was lost"
    )


def _version() -> str:
    try:
        return version("rollcast-client")
    except PackageNotFoundError:
        return "0"
