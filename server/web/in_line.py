"""A client that waits for a place: told how it stands, and heard if it leaves."""

from __future__ import annotations

import asyncio

from starlette.websockets import WebSocketDisconnect

from ..engine.engine import Engine
from ..engine.place_line import Waiter
from ..engine.places import Place
from ..protocol.client_messages import ClientMessage, Ping, SessionClose
from ..protocol.errors import OutOfOrder, StreamError
from ..protocol.messages import correlated
from ..protocol.packets import Packet
from ..protocol.server_messages import Pong
from ..session.arrivals import Arrival, LinkReport, LiveSound
from .stream_socket import StreamSocket

TELL_EVERY_S = 5.0
"""At least; a client gives up a server that says nothing for longer than it has patience."""


class LeftLine(Exception):
    """The client has said that it waits no more."""


async def wait_in_line(
    socket: StreamSocket, engine: Engine, waiter: Waiter, event_id: str | None
) -> Place:
    """The client's place, once it has one.

    Raises LeftLine, WebSocketDisconnect if it was lost, whose turn is kept for a while, and the
    StreamError for which it gets no place.
    """
    reading = asyncio.create_task(socket.receive(), name="line-read")
    moving: asyncio.Task[bool] | None = None
    tell_s = engine.now_s()
    try:
        while not waiter.place.done():
            if waiter.moved.is_set() or engine.now_s() >= tell_s:
                tell_s = engine.now_s() + TELL_EVERY_S
                await socket.say(engine.line.news(waiter, event_id))
            moving = asyncio.create_task(waiter.moved.wait(), name="line-wait")
            await asyncio.wait(
                (reading, moving, waiter.place),
                timeout=max(0.0, tell_s - engine.now_s()),
                return_when=asyncio.FIRST_COMPLETED,
            )
            moving.cancel()
            while reading.done():
                await _hear(socket, engine, reading)
                reading = asyncio.create_task(socket.receive(), name="line-read")
                await asyncio.sleep(0)
        return waiter.place.result()
    except WebSocketDisconnect:
        engine.line.lose(waiter)
        raise
    except BaseException:
        engine.line.leave(waiter)
        raise
    finally:
        for task in (reading, moving):
            if task is not None:
                task.cancel()
        # what the client has said meanwhile waits in the socket for who reads next
        await asyncio.gather(reading, return_exceptions=True)


async def _hear(
    socket: StreamSocket, engine: Engine, reading: asyncio.Task[ClientMessage | Packet | Arrival]
) -> None:
    message = None
    try:
        message = reading.result()
        match message:
            case Ping():
                now_ms = engine.now_s() * 1e3
                pong = Pong(event_id=message.event_id, t_ms=message.t_ms, server_ms=now_ms)
                await socket.say(pong)
            case SessionClose():
                raise LeftLine
            case LiveSound() | LinkReport():
                pass  # there is nobody to hear it
            case _:
                raise OutOfOrder(
                    "the client waits in the line, and has no stream yet",
                    hint="Send ping or session.close until session.ready comes.",
                )
    except StreamError as error:
        correlated(error, message)
        if error.fatal:
            raise
        await socket.refuse(error)
