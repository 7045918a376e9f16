"""Pumps the WebSocket of one who watches: packets that all of them share, and few words."""

from __future__ import annotations

import asyncio

from ..audience.channel import Channel
from ..audience.seat import Coded, Seat
from ..engine.hosted_stream import HostedStream
from ..protocol.client_messages import Ack, ClientMessage, KeyRequest, Ping, SessionClose
from ..protocol.errors import ReadOnly, StreamError
from ..protocol.messages import answer, correlated
from ..protocol.packets import Packet
from ..protocol.server_messages import Pong, SessionWatching
from ..session.arrivals import Arrival, LinkReport, LiveSound
from .addresses import network_of
from .handshake import OpenedView
from .services import Services
from .stream_socket import StreamSocket


class Spectator:
    """One viewer of a stream, from its seat to its leaving."""

    def __init__(self, socket: StreamSocket, services: Services, opened: OpenedView) -> None:
        self._socket = socket
        self._services = services
        self._opened = opened
        self._output = asyncio.Event()
        self._seat: Seat | None = None
        """The seat, while nobody is sending what it has."""

    async def run(self) -> None:
        """Show the stream until the viewer leaves; raises StreamError for the reason to end it."""
        opened, broadcast = self._opened, self._services.broadcast
        address = network_of(self._socket.address)
        audience = opened.stream.audience
        self._services.engine.check_viewers(address)
        channel, seat, codec_string = await broadcast.join(
            audience, opened.format, address, self._came
        )
        try:
            await self._pump(seat, _watching(opened, channel, codec_string))
        finally:
            broadcast.leave(audience, channel, seat)

    async def _pump(self, seat: Seat, first: SessionWatching) -> None:
        reader = asyncio.create_task(self._read(seat), name="viewer-read")
        writer = asyncio.create_task(self._write(seat, first), name="viewer-write")
        try:
            await asyncio.wait((reader, writer), return_when=asyncio.FIRST_COMPLETED)
            (writer if writer.done() else reader).result()
        finally:
            reader.cancel()
            writer.cancel()
            await asyncio.gather(reader, writer, return_exceptions=True)
            # what they raised leads back to this frame
            del reader, writer

    async def _write(self, seat: Seat, first: SessionWatching) -> None:
        """Send what the seat has; ends only by raising."""
        metrics = self._services.engine.metrics
        await self._socket.say(first)
        while True:
            item = seat.pop()
            if isinstance(item, Coded):
                await self._socket.send(item.data)
                metrics.bytes_sent.inc(len(item.data))
            elif item is not None:
                await self._socket.say(item)
            elif seat.ended is not None:
                raise seat.ended.anew()
            else:
                self._seat = seat
                await self._output.wait()
                self._seat = None
                self._output.clear()

    def _came(self) -> None:
        """The seat has something: sent at once if it can be, for to wake a task costs as much."""
        seat = self._seat
        if seat is None or not self._sent_all(seat):
            self._output.set()

    def _sent_all(self, seat: Seat) -> bool:
        """Send what the seat has without waiting; whether that was all, and nothing but packets."""
        packets = seat.packets
        if not packets or not self._socket.send_now([coded.data for coded in packets]):
            return False
        seat.sent(packets)
        size = sum(len(coded.data) for coded in packets)
        self._services.engine.metrics.bytes_sent.inc(size)
        return True

    async def _read(self, seat: Seat) -> None:
        """Read until session.close; no more of one who leaves the answers unread."""
        while True:
            while seat.full:
                await asyncio.sleep(0.1)
            try:
                message = await self._socket.receive()
                seat.heard_s = self._services.engine.now_s()
                if isinstance(message, SessionClose):
                    return
                self._act(seat, message)
            except StreamError as error:
                if error.fatal:
                    raise
                self._services.engine.metrics.errors.labels(error.code).inc()
                seat.say(answer(error))

    def _act(self, seat: Seat, message: ClientMessage | Packet | Arrival) -> None:
        match message:
            case LiveSound() | LinkReport():
                pass  # what is encoded once for all goes by no single link
            case Ack():
                seat.ack(message)
            case KeyRequest():
                seat.ask_key()
            case Ping():
                server_ms = seat.heard_s * 1e3
                seat.say(Pong(event_id=message.event_id, t_ms=message.t_ms, server_ms=server_ms))
            case _:
                what = "media" if isinstance(message, Packet) else message.type
                raise correlated(ReadOnly(f"{what} is not for those who watch"), message)


def _watching(opened: OpenedView, channel: Channel, codec_string: str) -> SessionWatching:
    stream: HostedStream = opened.stream
    info, format_ = stream.session.info, opened.format
    return SessionWatching(
        event_id=opened.event_id,
        session_id=stream.session_id,
        model=info.name,
        width=info.width,
        height=info.height,
        fps=info.fps,
        chunk_frames=info.chunk_frames,
        sample_rate=stream.session.sound_rate,
        codec=format_.codec,
        codec_string=codec_string,
        audio_codec=format_.audio_codec,
        generation=channel.generation,
        viewers=len(stream.audience),
    )
