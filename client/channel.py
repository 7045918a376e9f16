"""One WebSocket: the handshake, then typed messages in both directions."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Self, TypeVar
from urllib.parse import urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_socket
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from .errors import Disconnected, ProtocolError, Refused
from .messages import (
    AudioCodec,
    ClientHello,
    Codec,
    ErrorNotice,
    Outgoing,
    ServerHello,
    ServerMessage,
    SessionCreate,
    SessionReady,
    SessionResume,
    parse_server,
)
from .wire import PROTOCOL_VERSION, Packet, unpack

STREAM_PATH = "/v1/stream"
OPEN_TIMEOUT_S = 10.0
MAX_MESSAGE_BYTES = 16 << 20
Answer = TypeVar("Answer", ServerHello, SessionReady)
_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is and how to be let in."""

    url: str
    token: str | None = None
    tls: ssl.SSLContext | None = None
    codecs: tuple[Codec, ...] = ("h264", "vp8", "jpeg")
    audio: bool = True
    audio_codec: AudioCodec = "pcm"


def stream_url(url: str) -> str:
    """The WebSocket address of a server, given that, its page's address or `host:port`."""
    parts = urlsplit(url if "//" in url else f"//{url}", scheme="http")
    if parts.scheme not in _SCHEMES or not parts.netloc:
        raise ValueError(f"a server's address looks like http://127.0.0.1:8000, got {url!r}")
    path = STREAM_PATH if parts.path in ("", "/") else parts.path
    return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, path, parts.query, ""))


class Channel:
    """An open socket whose hello has been answered; `receive` and `send` are all it does."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self.hello: ServerHello | None = None

    @classmethod
    async def open(cls, address: Address) -> Self:
        """Connect and greet. Raises Refused, Disconnected, or OSError for no server there."""
        channel = cls(await _connect(address))
        try:
            greeting = ClientHello(
                versions=[PROTOCOL_VERSION],
                client=f"rollcast-python/{_version()}",
                codecs=list(address.codecs),
                audio=address.audio,
                audio_codecs=[address.audio_codec],
                token=address.token,
            )
            channel.hello = await channel.ask(greeting, ServerHello)
        except BaseException:
            await channel.close()
            raise
        return channel

    async def start(self, request: SessionCreate | SessionResume) -> SessionReady:
        """Open or resume a stream; media comes next. Raises Refused with the server's reason."""
        return await self.ask(request, SessionReady)

    async def ask(self, message: Outgoing, answer: type[Answer]) -> Answer:
        """Send, and wait for a message of this type."""
        await self.send(message)
        while True:
            reply = await self.receive()
            if isinstance(reply, answer):
                return reply
            if isinstance(reply, ErrorNotice):
                raise refusal(reply)

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
    try:
        return await open_socket(
            url,
            ssl=(address.tls or True) if url.startswith("wss:") else None,
            compression=None,
            max_size=MAX_MESSAGE_BYTES,
            open_timeout=OPEN_TIMEOUT_S,
            close_timeout=1.0,
        )
    except InvalidStatus as error:
        code = error.response.status_code
        raise Refused(
            f"http_{code}", f"{url} answered HTTP {code}", hint=None, retry_after_s=None
        ) from error
    except InvalidHandshake as error:
        raise ProtocolError(f"{url} does not speak WebSocket: {error}") from error


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
