"""From an accepted socket to an open stream: hello, then session.create or session.resume."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import get_args

from ..engine.engine import Engine
from ..engine.hosted_stream import HostedStream
from ..media.encoder import Encoders
from ..media.pictures import PictureReader
from ..protocol.client_messages import ClientHello, ClientMessage, SessionCreate, SessionResume
from ..protocol.errors import OutOfOrder, StreamError, UnsupportedCodec, UnsupportedVersion
from ..protocol.fields import AudioCodec
from ..protocol.hello import server_hello
from ..protocol.limits import PROTOCOL_VERSION
from ..protocol.messages import correlated
from ..protocol.packets import Packet
from ..protocol.server_messages import SessionReady
from .client_socket import ClientSocket
from .security import TokenExpired, check_origin, check_token


@dataclass(frozen=True, slots=True)
class OpenedStream:
    """A stream that a client may now show."""

    stream: HostedStream
    next_seq: int
    resumed: bool
    event_id: str | None
    """Of the message that opened it."""


async def shake_hands(
    socket: ClientSocket, engine: Engine, encoders: Encoders, pictures: PictureReader
) -> OpenedStream:
    """Talk to the client until it has a stream. Raises StreamError for what ends the socket."""
    check_origin(socket.origin, socket.host, engine.config)
    hello = await _hello(socket)
    try:
        if PROTOCOL_VERSION not in hello.versions:
            raise UnsupportedVersion(f"this server speaks version {PROTOCOL_VERSION} only")
        expired = _check_token(hello, engine)
        codecs = encoders.choose(hello.codecs), choose_audio(hello)
    except StreamError as error:
        raise correlated(error, hello) from error
    await socket.say(server_hello(engine.models.values(), encoders.codecs, hello.event_id))
    while True:
        message = None
        try:
            message = await socket.receive()
            if expired is not None and not isinstance(message, SessionResume):
                raise expired
            opened = await _open(message, hello, engine, pictures)
        except StreamError as error:
            correlated(error, message)
            if error.fatal:
                raise
            await socket.refuse(error)
        else:
            opened.stream.session.shown_as(*codecs)
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
        width=session.size[0],
        height=session.size[1],
        fps=info.fps,
        chunk_frames=info.chunk_frames,
        sample_rate=info.sample_rate,
        codec=session.codec,
        codec_string=codec_string,
        audio_codec=session.audio_codec,
        generation=session.generation,
        next_seq=opened.next_seq,
        resumed=opened.resumed,
        grace_s=options.grace_s,
    )


def _check_token(hello: ClientHello, engine: Engine) -> TokenExpired | None:
    """Raise Unauthorized unless the client may come in.

    With a token that has expired since, which is returned, it may go on with the stream whose
    resume_token it has, and do nothing else.
    """
    try:
        check_token(hello.token, engine.config, "stream", time.time())
    except TokenExpired as expired:
        return expired
    return None


async def _hello(socket: ClientSocket) -> ClientHello:
    while True:
        message = None
        try:
            message = await socket.receive()
            if isinstance(message, ClientHello):
                return message
            raise OutOfOrder("the first message must be hello")
        except StreamError as error:
            correlated(error, message)
            if error.fatal:
                raise
            await socket.refuse(error)


async def _open(
    message: ClientMessage | Packet,
    hello: ClientHello,
    engine: Engine,
    pictures: PictureReader,
) -> OpenedStream:
    match message:
        case SessionCreate():
            picture = None
            if message.picture is not None:
                picture = await pictures.read(message.picture, engine.model(message.model))
            stream = engine.create(message, audio=hello.audio, picture=picture)
            return OpenedStream(stream, 0, resumed=False, event_id=message.event_id)
        case SessionResume():
            stream, next_seq = engine.resume(message, audio=hello.audio)
            return OpenedStream(stream, next_seq, resumed=True, event_id=message.event_id)
        case _:
            raise OutOfOrder("open a stream first")
