"""From an accepted socket to an open stream: hello, then session.create or session.resume."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import get_args

from ..audience.channel import Format
from ..engine.engine import Engine
from ..engine.hosted_stream import HostedStream
from ..engine.place_line import Waiter
from ..engine.places import Place
from ..handover.lease import BadLease, Lease, read_lease
from ..protocol.client_messages import (
    ClientHello,
    ClientMessage,
    SessionCreate,
    SessionResume,
    SessionWatch,
)
from ..protocol.errors import (
    OutOfOrder,
    ReadOnly,
    StreamError,
    Unauthorized,
    UnsupportedCodec,
    UnsupportedVersion,
)
from ..protocol.fields import AudioCodec, Codec
from ..protocol.hello import server_hello
from ..protocol.limits import PROTOCOL_VERSION
from ..protocol.messages import correlated
from ..protocol.packets import Packet
from ..protocol.server_messages import SessionReady
from ..session.arrivals import Arrival
from .addresses import network_of
from .client_socket import ClientSocket
from .client_tokens import WATCH, Claims
from .in_line import wait_in_line
from .security import TokenExpired, check_origin
from .services import Services
from .stream_socket import StreamSocket

_WATCH_FIRST = "Send session.watch to see the stream."


@dataclass(frozen=True, slots=True)
class OpenedStream:
    """A stream that a client may now show."""

    stream: HostedStream
    codecs: tuple[Codec, ...]
    """That both sides know, the best one first."""
    next_seq: int
    resumed: bool
    event_id: str | None
    """Of the message that opened it."""


@dataclass(frozen=True, slots=True)
class OpenedView:
    """A stream that a client may now watch."""

    stream: HostedStream
    format: Format
    event_id: str | None


@dataclass(frozen=True, slots=True)
class _Caller:
    """Who said hello: whose quota counts, and what the token permits if that is not everything."""

    client: str
    expired: TokenExpired | None = None
    share: Claims | None = None
    lease: Lease | None = None
    """By which a gateway comes for a client."""


async def shake_hands(
    socket: StreamSocket, services: Services, limit: asyncio.Timeout
) -> OpenedStream | OpenedView:
    """Talk to the client until it has a stream, within `limit` and what it waits in the line.

    Raises StreamError for what ends the socket, and LeftLine.
    """
    engine, encoders = services.engine, services.encoders
    check_origin(socket.origin, socket.host, engine.config)
    hello = await _hello(socket)
    now_s = engine.now_s()
    try:
        if PROTOCOL_VERSION not in hello.versions:
            raise UnsupportedVersion(f"this server speaks version {PROTOCOL_VERSION} only")
        caller = _check_token(hello, socket, services)
        codecs, audio_codec = encoders.choose(hello.codecs, now_s), choose_audio(hello)
    except StreamError as error:
        correlated(error, hello)
        raise
    socket.greeted()
    usable = encoders.usable(now_s)
    await socket.say(
        server_hello(
            engine.models.values(),
            usable,
            hello.event_id,
            max_viewers=engine.config.max_viewers,
            clip_s=engine.config.clip_s,
            may_record=services.recordings.may_ask,
        )
    )
    while True:
        message = None
        try:
            message = await _received(socket)
            if caller.expired is not None and not isinstance(message, SessionResume):
                raise caller.expired
            if isinstance(message, SessionWatch):
                opened = _watch(message, Format(codecs[0], audio_codec), services, caller.share)
            elif caller.share is not None:
                raise _not_shared(message)
            else:
                opened = await _open(socket, message, hello, codecs, services, caller, limit)
        except StreamError as error:
            correlated(error, message)
            if error.fatal:
                raise
            await socket.refuse(error)
        else:
            if isinstance(opened, OpenedStream):
                opened.stream.session.shown_as(codecs[0], audio_codec)
            socket.stream_opened()
            return opened


def choose_audio(hello: ClientHello) -> AudioCodec:
    """The first codec of the client's list that sound can be sent as.

    Raises UnsupportedCodec when there is none.
    """
    if not hello.audio or hello.audio_codecs is None:
        return "pcm"
    known: tuple[AudioCodec, ...] = get_args(AudioCodec)
    for name in hello.audio_codecs:
        if name in known:
            return known[known.index(name)]
    raise UnsupportedCodec(
        f"sound cannot be sent as {', '.join(hello.audio_codecs)}, only as {', '.join(known)}",
        field="audio_codecs",
    )


def ready_message(opened: OpenedStream, codec_string: str) -> SessionReady:
    """What tells the client that its stream is open."""
    session = opened.stream.session
    info, options = session.info, session.options
    return SessionReady(
        event_id=opened.event_id,
        session_id=options.session_id,
        resume_token=options.resume_token,
        model=info.name,
        scene=session.scene,
        prompt=session.prompt,
        seed=session.seed,
        has_picture=session.has_picture,
        has_image=session.has_image,
        width=session.size[0],
        height=session.size[1],
        fps=info.fps,
        chunk_frames=info.chunk_frames,
        sample_rate=session.sound_rate,
        codec=session.codec,
        codec_string=codec_string,
        audio_codec=session.audio_codec,
        generation=session.generation,
        next_seq=opened.next_seq,
        resumed=opened.resumed,
        grace_s=options.grace_s,
        recorded=opened.stream.recorded.written,
        recorded_pictures=opened.stream.recorded.pictures,
    )


def _check_token(hello: ClientHello, socket: StreamSocket, services: Services) -> _Caller:
    """Raise Unauthorized, or RateLimited, unless the client may come in.

    With a token that has expired since it may go on with the stream whose resume_token it has, and
    do nothing else; with that of a share link it may watch the stream of that. Its quota is that of
    whom the token was made for, or of its address.
    """
    address = f"address {network_of(socket.address)}"
    now_s = services.engine.now_s()
    lease = _lease(socket, services)
    if lease is not None and lease.role == "stream":
        # the gateway has looked at the token
        client = socket.forwarded_client if isinstance(socket, ClientSocket) else ""
        return _Caller(client or address, lease=lease)
    try:
        claims = services.logins.check(
            hello.token, "stream", WATCH, host=socket.address, over=socket.kind, now_s=now_s
        )
        share = services.links.of(hello.token, claims)
    except TokenExpired as expired:
        return _Caller(address, expired)
    if claims is not None and claims.subject:
        return _Caller(f"subject {claims.subject}")
    return _Caller(address, share=share)


async def _received(socket: StreamSocket) -> ClientMessage | Packet:
    """The next message; sound that comes before there is a stream is heard by nobody."""
    while isinstance(message := await socket.receive(), Arrival):
        pass
    return message


def _lease(socket: StreamSocket, services: Services) -> Lease | None:
    """By what a gateway comes; None: this server is no replica. Raises Unauthorized."""
    config = services.engine.config
    if config.fleet_key is None:
        return None
    key = config.fleet_key.reveal()
    token = socket.lease if isinstance(socket, ClientSocket) else None
    try:
        return read_lease(token, key, "stream", "watch", replica=config.name, now_s=time.time())
    except BadLease as error:
        raise Unauthorized(str(error), field="token", hint="Connect to the gateway.") from error


async def _hello(socket: StreamSocket) -> ClientHello:
    while True:
        message = None
        try:
            message = await _received(socket)
            if isinstance(message, ClientHello):
                return message
            raise OutOfOrder("the first message must be hello")
        except StreamError as error:
            correlated(error, message)
            if error.fatal:
                raise
            await socket.refuse(error)


def _watch(
    message: SessionWatch, format_: Format, services: Services, share: Claims | None
) -> OpenedView:
    if share is None:
        raise Unauthorized(
            "the token in hello is not that of a share link",
            field="token",
            hint="Send in hello.token what session.shared gave to who shares the stream.",
        )
    stream = services.engine.watched(share.session, share.epoch)
    sound = stream.session.info.sample_rate is not None and format_.audio_codec is not None
    format_ = format_ if sound else Format(format_.codec, None)
    return OpenedView(stream, format_, message.event_id)


def _not_shared(message: ClientMessage | Packet) -> StreamError:
    what = "media" if isinstance(message, Packet) else message.type
    return ReadOnly(f"{what} is not for those who come by a share link", hint=_WATCH_FIRST)


async def _wait(
    socket: StreamSocket,
    engine: Engine,
    waiter: Waiter,
    message: SessionCreate,
    limit: asyncio.Timeout,
) -> Place:
    """The time in the line does not count for the handshake."""
    limit.reschedule(None)
    socket.in_line()
    place = await wait_in_line(socket, engine, waiter, message.event_id)
    limit.reschedule(engine.now_s() + engine.config.hello_timeout_s)
    return place


async def _open(
    socket: StreamSocket,
    message: ClientMessage | Packet,
    hello: ClientHello,
    codecs: tuple[Codec, ...],
    services: Services,
    caller: _Caller,
    limit: asyncio.Timeout,
) -> OpenedStream:
    engine, lease = services.engine, caller.lease
    match message:
        case SessionCreate():
            place = engine.hold(message, caller.client)
            if isinstance(place, Waiter):
                place = await _wait(socket, engine, place, message, limit)
            try:
                pictures = await services.pictures.of(message, place.info)
                session_id = None if lease is None else lease.session
                stream = engine.create(
                    message, place, audio=hello.audio, session_id=session_id, **pictures
                )
                services.recordings.begin(stream)
            finally:
                engine.places.release(place)
            return OpenedStream(stream, codecs, 0, resumed=False, event_id=message.event_id)
        case SessionResume():
            epoch = 0 if lease is None else lease.epoch
            stream, next_seq = engine.resume(message, audio=hello.audio, epoch=epoch)
            return OpenedStream(stream, codecs, next_seq, resumed=True, event_id=message.event_id)
        case _:
            raise OutOfOrder("open a stream first")
