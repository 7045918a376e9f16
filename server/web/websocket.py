"""Pumps one WebSocket: its messages to the session, the session's messages and media out."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor

import structlog
from starlette.websockets import WebSocketDisconnect

from ..engine.engine import Engine
from ..engine.hosted_stream import HostedStream
from ..logs import logger
from ..media.encoder import Encoders
from ..media.packet_encoder import PacketEncoder
from ..media.pictures import PictureReader
from ..protocol.client_messages import PictureChange, Prompt, SessionClose
from ..protocol.errors import StreamError, Timeout
from ..protocol.packets import Packet
from ..session.media import AudioPiece, VideoFrame
from .client_socket import ClientSocket
from .handshake import OpenedStream, ready_message, shake_hands

CLOSE_NORMAL = 1000


class Connection:
    """One socket from its first message to its last; at most one stream."""

    def __init__(
        self,
        socket: ClientSocket,
        engine: Engine,
        encoders: Encoders,
        pool: ThreadPoolExecutor,
        pictures: PictureReader,
    ) -> None:
        self._socket = socket
        self._engine = engine
        self._encoders = encoders
        self._pool = pool
        self._pictures = pictures
        self._output = asyncio.Event()
        self._ended: StreamError | None = None
        self._told = False
        self._log = logger("rollcast.websocket")

    def notify(self) -> None:
        """There may be something to send."""
        self._output.set()

    def end(self, error: StreamError) -> None:
        """Say so and close, without touching the session any more."""
        self._ended = error
        self._output.set()

    async def run(self) -> None:
        """Serve the socket until either side closes it."""
        with contextlib.suppress(WebSocketDisconnect, Timeout):
            try:
                opened = await self._open()
                with structlog.contextvars.bound_contextvars(session_id=opened.stream.session_id):
                    await self._show(opened)
            except StreamError as error:
                self._log.info("connection refused or ended", code=error.code, why=error.message)
                await self._socket.refuse(error)
            else:
                await self._socket.close(CLOSE_NORMAL)

    async def _open(self) -> OpenedStream:
        limit_s = self._engine.config.hello_timeout_s
        try:
            async with asyncio.timeout(limit_s):
                return await shake_hands(self._socket, self._engine, self._encoders, self._pictures)
        except TimeoutError as error:
            raise Timeout(f"no stream was opened in {limit_s:g} s") from error

    async def _show(self, opened: OpenedStream) -> None:
        """Show the stream; afterwards it is kept for a resume, or freed if that cannot come."""
        stream = opened.stream
        stream.viewer = self
        closed = False
        try:
            encoder = await PacketEncoder.open(
                stream.session, opened.codec, self._encoders, self._pool, self._engine.metrics
            )
            closed = await self._pump(opened, encoder)
        finally:
            if stream.viewer is self:
                failure = stream.session.failure
                may_resume = opened.resumed or self._told
                if may_resume and not closed and (failure is None or isinstance(failure, Timeout)):
                    self._engine.detach(stream)
                else:
                    self._engine.close(stream.session_id)

    async def _pump(self, opened: OpenedStream, encoder: PacketEncoder) -> bool:
        """Run both directions until one ends; true when the client closed its stream."""
        reader = asyncio.create_task(self._read(opened.stream), name="socket-read")
        writer = asyncio.create_task(self._write(opened, encoder), name="socket-write")
        try:
            await asyncio.wait((reader, writer), return_when=asyncio.FIRST_COMPLETED)
            if not reader.done() and isinstance(writer.exception(), WebSocketDisconnect):
                # The client is gone: the reader meets the end of what it said, which may have
                # been session.close.
                await asyncio.wait((reader,))
            if reader.done() and reader.exception() is None:
                return reader.result()
            if writer.done():
                writer.result()
            return reader.result()
        finally:
            reader.cancel()
            writer.cancel()
            await asyncio.gather(reader, writer, return_exceptions=True)

    async def _read(self, stream: HostedStream) -> bool:
        """Hand messages to the session; true at session.close."""
        while True:
            try:
                message = await self._socket.receive()
                if isinstance(message, PictureChange):
                    message = await self._pictures.control(message, stream.session.info)
                if self._ended is not None:
                    continue
                if isinstance(message, SessionClose):
                    return True
                if isinstance(message, Prompt) and stream.prompts and stream.prompts.keep(message):
                    continue
                now_s = self._engine.now_s()
                with self._engine.metrics.time("control"):
                    if isinstance(message, Packet):
                        stream.session.receive_audio(message, now_s)
                    else:
                        stream.session.receive(message, now_s)
            except StreamError as error:
                self._engine.metrics.errors.labels(error.code).inc()
                stream.session.refuse(error)
            self._engine.wake()
            self._output.set()

    async def _write(self, opened: OpenedStream, encoder: PacketEncoder) -> None:
        """Send session.ready, then what the session says and shows; ends only by raising."""
        stream, session = opened.stream, opened.stream.session
        await self._socket.say(ready_message(opened, encoder.codec_string))
        self._told = True
        while True:
            if self._ended is not None:
                raise self._ended
            if session.failure is not None:
                raise session.failure
            item = session.next_output(self._engine.now_s())
            if item is None:
                await self._output.wait()
                self._output.clear()
            elif isinstance(item, AudioPiece | VideoFrame):
                await self._send_media(stream, encoder, item)
            else:
                await self._socket.say(item)

    async def _send_media(
        self, stream: HostedStream, encoder: PacketEncoder, item: AudioPiece | VideoFrame
    ) -> None:
        session, metrics = stream.session, self._engine.metrics
        data = await encoder.encode(item)
        if self._ended is not None:
            return
        with metrics.time("send"):
            await self._socket.send(data)
        metrics.bytes_sent.inc(len(data))
        if self._ended is None:
            session.sent(item, len(data), self._engine.now_s())
