"""A client's socket at the gateway until it has a stream: who it is, and what it asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from ..config import ServerConfig
from ..logs import logger
from ..protocol.client_messages import (
    ClientHello,
    ClientMessage,
    SessionCreate,
    SessionResume,
    SessionWatch,
)
from ..protocol.errors import (
    Capacity,
    OutOfOrder,
    ReadOnly,
    StreamError,
    Timeout,
    UnsupportedCodec,
    UnsupportedVersion,
)
from ..protocol.limits import PROTOCOL_VERSION
from ..protocol.messages import answer, correlated, encode_message
from ..protocol.packets import Packet
from ..web.addresses import network_of
from ..web.bounded_log import BoundedLog
from ..web.client_tokens import WATCH, Claims
from ..web.failed_logins import FailedLogins
from ..web.handshake import choose_audio
from ..web.inbox import Inbox
from ..web.security import TokenExpired, check_origin
from ..web.share_links import ShareLinks
from .carrier import Caller
from .directory import Directory, authorization
from .http_call import NoAnswer, call
from .link import Closed, Link
from .upstream import Refused

HELLO_S = 1.0
FIND_S = 5.0
Open = Callable[
    [Link, SessionCreate | SessionResume | SessionWatch, bytes, Caller, Claims | None],
    Awaitable[None],
]
"""Opens, resumes or watches a stream: the message, its text, whose it is, what a link permits."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """A socket before it has a stream: where from, and by which names it came."""

    address: str
    origin: str | None
    host: str | None


class Handshakes:
    """What all sockets of a gateway begin with; `open_` gives them their streams."""

    def __init__(self, config: ServerConfig, directory: Directory, key: str, open_: Open) -> None:
        self._config = config
        self._directory = directory
        self._key = key
        self._open_stream = open_
        self._log = BoundedLog("rollcast.access")
        self._logins = FailedLogins(config, self._log)
        self._links = ShareLinks(config)
        self._hello: dict[str, object] | None = None
        self._hello_of = ""

    async def serve(self, link: Link, visitor: Visitor, opened: asyncio.Event) -> None:
        """Serve a socket that was accepted; `opened` is set when it has a stream."""
        try:
            await self._shake_hands(link, visitor)
            opened.set()
        except StreamError as error:
            link.say(encode_message(answer(error)).encode())
            link.close(error.close_code, error.code)
        except (Closed, OSError) as error:
            if not isinstance(error, Closed):
                logger("rollcast.fleet").warning("no replica", reason=str(error))
                link.close(1012, "no replica")
        except Exception:
            logger("rollcast.fleet").exception("a handshake failed")
            link.close(1011)

    async def _shake_hands(self, link: Link, visitor: Visitor) -> None:
        check_origin(visitor.origin, visitor.host, self._config)
        loop = asyncio.get_running_loop()
        inbox, limit_s = Inbox(loop.time()), self._config.hello_timeout_s
        try:
            async with asyncio.timeout(limit_s) as limit:
                hello, text = await self._next_hello(link, inbox)
                caller, claims, expired = self._caller(hello, text, visitor)
                inbox.greeted = True
                await self._greet(link, hello)
                while True:
                    message, text = await self._next(link, inbox)
                    if message is None:
                        continue
                    if expired is not None and not isinstance(message, SessionResume):
                        raise expired
                    limit.reschedule(None)
                    if await self._open(link, message, text, caller, claims):
                        return
                    limit.reschedule(loop.time() + limit_s)
        except TimeoutError as error:
            raise Timeout(f"no stream was opened in {limit_s:g} s") from error

    async def _next(self, link: Link, inbox: Inbox) -> tuple[ClientMessage | Packet | None, bytes]:
        """The next message; None for a faulty one, which is answered."""
        data, is_text = await link.receive()
        now_s = asyncio.get_running_loop().time()
        try:
            if is_text:
                return inbox.text(data.decode(), now_s), data
            return inbox.binary(data, now_s), data
        except UnicodeDecodeError:
            link.close(1007)
            raise Closed(1007, "") from None
        except StreamError as error:
            error = inbox.mistake(error, now_s)
            if error.fatal:
                raise error from None
            link.say(encode_message(answer(error)).encode())
            return None, data

    async def _next_hello(self, link: Link, inbox: Inbox) -> tuple[ClientHello, bytes]:
        while True:
            message, text = await self._next(link, inbox)
            if isinstance(message, ClientHello):
                return message, text
            if message is not None:
                error = correlated(OutOfOrder("the first message must be hello"), message)
                link.say(encode_message(answer(error)).encode())

    def _caller(
        self, hello: ClientHello, text: bytes, visitor: Visitor
    ) -> tuple[Caller, Claims | None, TokenExpired | None]:
        """Who it is, what its share link permits, and whether its token has expired."""
        now_s = asyncio.get_running_loop().time()
        client, expired, share = f"address {network_of(visitor.address)}", None, None
        try:
            if PROTOCOL_VERSION not in hello.versions:
                raise UnsupportedVersion(f"this server speaks version {PROTOCOL_VERSION} only")
            claims = self._logins.check(
                hello.token, "stream", WATCH, host=visitor.address, over="websocket", now_s=now_s
            )
            share = self._links.of(hello.token, claims)
            if claims is not None and claims.subject:
                client = f"subject {claims.subject}"
            choose_audio(hello)
        except TokenExpired as error:
            expired = error
        except StreamError as error:
            correlated(error, hello)
            raise
        return Caller(hello=text, address=visitor.address, client=client), share, expired

    async def _greet(self, link: Link, hello: ClientHello) -> None:
        known = await self._server_hello()
        codecs = known.get("codecs")
        if isinstance(codecs, list) and not any(name in codecs for name in hello.codecs):
            error = UnsupportedCodec(
                f"this server cannot encode {', '.join(hello.codecs)}, only {', '.join(codecs)}",
                field="codecs",
            )
            raise correlated(error, hello)
        said = known if hello.event_id is None else {**known, "event_id": hello.event_id}
        link.say(msgspec.json.encode(said))

    async def _server_hello(self) -> dict[str, object]:
        """The hello of a replica, which is that of all; who just began finds one soon."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + FIND_S
        while (known := await self._known_hello()) is None:
            if loop.time() >= until_s:
                raise Capacity("no server of the fleet is ready", retry_after_s=2.0, fatal=True)
            await asyncio.sleep(0.1)
        return known

    async def _known_hello(self) -> dict[str, object] | None:
        ready = [each for each in self._directory.replicas.values() if each.condition == "ready"]
        if self._hello is not None and self._hello_of in {each.name for each in ready}:
            return self._hello
        for replica in sorted(ready, key=lambda each: -each.heard_s):
            headers = authorization(self._key, replica.name)
            with suppress(NoAnswer):
                answered = await call(
                    "GET", f"{replica.url}/fleet/hello", headers=headers, timeout_s=HELLO_S
                )
                if answered.status == 200:
                    self._hello = msgspec.json.decode(answered.body)
                    self._hello_of = replica.name
                    break
        return self._hello

    async def _open(
        self,
        link: Link,
        message: ClientMessage | Packet,
        text: bytes,
        caller: Caller,
        share: Claims | None,
    ) -> bool:
        """Open what the client asks for; false: it was refused and may ask again."""
        try:
            if share is not None and not isinstance(message, SessionWatch):
                raise ReadOnly(
                    f"{type(message).__name__} is not for those who come by a share link",
                    hint="Send session.watch to see the stream.",
                )
            if not isinstance(message, SessionCreate | SessionResume | SessionWatch):
                raise OutOfOrder("open a stream first")
            await self._open_stream(link, message, text, caller, share)
        except Refused as refused:
            link.say(refused.text)
            if refused.fatal:
                link.close(_close_code(refused.code), refused.code)
                raise Closed(0, refused.code) from None
            return False
        except StreamError as error:
            correlated(error, message)
            if error.fatal:
                raise
            link.say(encode_message(answer(error)).encode())
            return False
        return True


def _close_code(code: str) -> int:
    for kind in StreamError.__subclasses__():
        if kind.code == code:
            return kind.close_code
    return 4400
