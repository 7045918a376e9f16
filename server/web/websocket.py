"""Pumps one connection: its messages to the session, the session's messages and media out."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import structlog
from starlette.websockets import WebSocketDisconnect

from ..engine.hosted_stream import HostedStream
from ..media.packet_encoder import PacketEncoder
from ..protocol.errors import EngineFailed, StreamError, Timeout
from ..protocol.server_messages import VideoFormat
from ..session.media import AudioPiece, VideoFrame
from .handshake import OpenedStream, OpenedView, ready_message, shake_hands
from .in_line import LeftLine
from .reader import Reader
from .services import Services
from .spectator import Spectator
from .stream_socket import StreamSocket

TOGETHER_S = 0.003
"""Media of a stream wait so long, in a fleet, for what is encoded next: on the way through a
gateway each packet by itself would be three processes' work."""
CLOSE_NORMAL = 1000
CLOSE_FAILED = 1011
CLOSE_MOVED = 4490
"""To a gateway: the stream was let go of, and this is all."""


class StreamMoved(Exception):
    """The stream goes on at another server."""


class Connection:
    """One socket from its first message to its last; at most one stream."""

    def __init__(self, socket: StreamSocket, services: Services) -> None:
        self._socket = socket
        self._services = services
        self._engine = services.engine
        self._output = asyncio.Event()
        self._ended: StreamError | None = None
        self._told = False
        self._held: list[tuple[AudioPiece | VideoFrame, list[bytes]]] = []
        """Pieces whose packets are sent together."""
        self._held_s = 0.0
        """Since when."""
        self._has_shown = False
        """Whether a frame was sent: who has not seen one yet, or not since a move, waits for it."""

    def notify(self) -> None:
        """There may be something to send."""
        self._output.set()

    def end(self, error: StreamError) -> None:
        """Say so and close, without touching the session any more."""
        self._ended = error
        self._output.set()

    async def run(self) -> None:
        """Serve the socket until either side closes it; nothing is raised whatever comes."""
        with contextlib.suppress(WebSocketDisconnect, Timeout):
            try:
                opened = await self._open()
                with structlog.contextvars.bound_contextvars(session_id=opened.stream.session_id):
                    if isinstance(opened, OpenedView):
                        await Spectator(self._socket, self._services, opened).run()
                    else:
                        await self._show(opened)
            except StreamMoved:
                await self._socket.close(CLOSE_MOVED)
            except StreamError as error:
                self._log_refusal(error)
                await self._socket.refuse(error)
            except LeftLine:
                await self._socket.close(CLOSE_NORMAL)
            except (WebSocketDisconnect, asyncio.CancelledError):
                raise
            except Exception:
                # No connection may fill the log, or go on half dead, through a mistake of ours.
                self._services.log.error(
                    "a connection failed",
                    self._socket.address,
                    self._engine.now_s(),
                    exc_info=True,
                )
                await self._socket.close(CLOSE_FAILED)
            else:
                await self._socket.close(CLOSE_NORMAL)

    def _log_refusal(self, error: StreamError) -> None:
        self._services.log.info(
            "connection refused or ended",
            self._socket.address,
            self._engine.now_s(),
            code=error.code,
            why=error.message,
        )

    async def _open(self) -> OpenedStream | OpenedView:
        limit_s = self._engine.config.hello_timeout_s
        try:
            async with asyncio.timeout(limit_s) as limit:
                return await shake_hands(self._socket, self._services, limit)
        except TimeoutError as error:
            raise Timeout(f"no stream was opened in {limit_s:g} s") from error

    async def _show(self, opened: OpenedStream) -> None:
        """Show the stream; afterwards it is kept for a resume, or freed if that cannot come."""
        stream = opened.stream
        stream.viewer = self
        closed = False
        if stream.journal is not None:
            stream.journal.attach()
        try:
            encoder = await PacketEncoder.open(
                stream.session,
                opened.codecs,
                self._services.encoders,
                self._services.workers,
                self._engine.metrics,
            )
            closed = await self._pump(opened, encoder)
        except EngineFailed as error:
            stream.session.fail(error)
            raise
        finally:
            if stream.viewer is self:
                failure = stream.session.failure
                may_resume = opened.resumed or self._told
                kept = failure is None or not failure.ends_stream
                if may_resume and not closed and not stream.gone and kept:
                    self._engine.detach(stream)
                else:
                    self._engine.close(stream.session_id)

    async def _pump(self, opened: OpenedStream, encoder: PacketEncoder) -> bool:
        """Run both directions until one ends; true when the client closed its stream."""
        read = Reader(
            self._socket, self._services, opened.stream, ended=lambda: self._ended is not None
        )
        reader = asyncio.create_task(read.run(), name="socket-read")
        writer = asyncio.create_task(self._write(opened, encoder, read.sent), name="socket-write")
        try:
            await asyncio.wait((reader, writer), return_when=asyncio.FIRST_COMPLETED)
            if not reader.done() and isinstance(writer.exception(), WebSocketDisconnect):
                # The client is gone: the reader meets the end of what it said, which may have
                # been session.close.
                read.unheard()
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
            # what they raised leads back to this frame
            del reader, writer

    async def _write(
        self, opened: OpenedStream, encoder: PacketEncoder, sent: Callable[[], None]
    ) -> None:
        """Send session.ready, then what the session says and shows; ends only by raising.

        What the session had to say before it failed comes before the failure.
        """
        stream, session = opened.stream, opened.stream.session
        await self._socket.say(ready_message(opened, encoder.codec_string))
        self._told = True
        while True:
            if self._ended is not None:
                raise self._ended.anew()
            await self._send_journal(stream)
            item = session.next_output(self._engine.now_s())
            if not isinstance(item, AudioPiece | VideoFrame):
                await self._send_held(stream)
            if item is None and session.failure is not None:
                raise session.failure.anew()
            if item is None:
                sent()
                await self._output.wait()
                self._output.clear()
            elif isinstance(item, AudioPiece | VideoFrame):
                await self._send_media(stream, encoder, item)
            else:
                await self._socket.say(item)
                sent()

    async def _send_journal(self, stream: HostedStream) -> None:
        """What a gateway has to know before anything that follows. Raises StreamMoved at the end of
        a stream that was let go of.
        """
        if stream.journal is None:
            return
        if stream.journal.waiting or stream.gone:
            await self._send_held(stream)
        while (data := stream.journal.take()) is not None:
            await self._socket.send(data)
            if self._ended is not None:
                raise self._ended.anew()
        if stream.gone:
            raise StreamMoved

    async def _send_media(
        self, stream: HostedStream, encoder: PacketEncoder, item: AudioPiece | VideoFrame
    ) -> None:
        packets = await encoder.encode(item)
        while isinstance(packets, VideoFormat):
            await self._send_held(stream)
            await self._socket.say(packets)
            packets = await encoder.encode(item)
        now_s = self._engine.now_s()
        self._held_s = self._held_s if self._held else now_s
        self._held.append((item, packets))
        waits = stream.journal is not None and stream.session.media_waits and self._has_shown
        self._has_shown = self._has_shown or isinstance(item, VideoFrame)
        if not waits or now_s - self._held_s >= TOGETHER_S:
            await self._send_held(stream)

    async def _send_held(self, stream: HostedStream) -> None:
        held, self._held = self._held, []
        packets = [data for _, each in held for data in each]
        if self._ended is not None or not packets:
            return
        metrics = self._engine.metrics
        with metrics.time("send"):
            if len(packets) == 1 or not self._socket.send_now(packets):
                for data in packets:
                    await self._socket.send(data)
                    if self._ended is not None:
                        return
        metrics.bytes_sent.inc(sum(map(len, packets)))
        for item, each in held:
            stream.session.sent(item, sum(map(len, each)), self._engine.now_s())
