"""From an accepted socket to an open stream: hello, then session.create or session.resume."""

from __future__ import annotations

from dataclasses import dataclass

from ..engine.engine import Engine
from ..engine.hosted_stream import HostedStream
from ..media.encoder import Encoders
from ..media.pictures import PictureReader
from ..protocol.client_messages import ClientHello, ClientMessage, SessionCreate, SessionResume
from ..protocol.errors import OutOfOrder, StreamError, UnsupportedVersion
from ..protocol.fields import Codec
from ..protocol.hello import server_hello
from ..protocol.limits import PROTOCOL_VERSION
from ..protocol.packets import Packet
from ..protocol.server_messages import SessionReady
from .client_socket import ClientSocket
from .security import check_origin, check_token


@dataclass(frozen=True, slots=True)
class OpenedStream:
    """A stream that a client may now show."""

    stream: HostedStream
    codecs: tuple[Codec, ...]
    """That both sides know, the best one first."""
    next_seq: int
    resumed: bool


async def shake_hands(
    socket: ClientSocket, engine: Engine, encoders: Encoders, pictures: PictureReader
) -> OpenedStream:
    """Talk to the client until it has a stream. Raises StreamError for what ends the socket."""
    check_origin(socket.origin, socket.host, engine.config)
    hello = await _hello(socket)
    if PROTOCOL_VERSION not in hello.versions:
        raise UnsupportedVersion(f"this server speaks version {PROTOCOL_VERSION} only")
    check_token(hello.token, engine.config)
    now_s = engine.now_s()
    codecs = encoders.choose(hello.codecs, now_s)
    await socket.say(server_hello(engine.models.values(), encoders.usable(now_s)))
    while True:
        try:
            return await _open(await socket.receive(), hello, codecs, engine, pictures)
        except StreamError as error:
            if error.fatal:
                raise
            await socket.refuse(error)


def ready_message(opened: OpenedStream, codec: Codec, codec_string: str) -> SessionReady:
    """What tells the client that its stream is open."""
    session = opened.stream.session
    info, options = session.info, session.options
    return SessionReady(
        session_id=options.session_id,
        resume_token=options.resume_token,
        model=info.name,
        scene=session.scene,
        prompt=session.prompt,
        seed=session.seed,
        has_picture=session.has_picture,
        width=info.width,
        height=info.height,
        fps=info.fps,
        chunk_frames=info.chunk_frames,
        sample_rate=info.sample_rate,
        codec=codec,
        codec_string=codec_string,
        generation=session.generation,
        next_seq=opened.next_seq,
        resumed=opened.resumed,
        grace_s=options.grace_s,
    )


async def _hello(socket: ClientSocket) -> ClientHello:
    while True:
        try:
            message = await socket.receive()
            if isinstance(message, ClientHello):
                return message
            raise OutOfOrder("the first message must be hello")
        except StreamError as error:
            if error.fatal:
                raise
            await socket.refuse(error)


async def _open(
    message: ClientMessage | Packet,
    hello: ClientHello,
    codecs: tuple[Codec, ...],
    engine: Engine,
    pictures: PictureReader,
) -> OpenedStream:
    match message:
        case SessionCreate():
            picture = None
            if message.picture is not None:
                picture = await pictures.read(message.picture, engine.model(message.model))
            stream = engine.create(message, audio=hello.audio, picture=picture)
            return OpenedStream(stream, codecs, 0, resumed=False)
        case SessionResume():
            stream, next_seq = engine.resume(message, audio=hello.audio)
            return OpenedStream(stream, codecs, next_seq, resumed=True)
        case _:
            event_id = getattr(message, "event_id", None)
            raise OutOfOrder("open a stream first", event_id=event_id)
