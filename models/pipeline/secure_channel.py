"""Connections between machines: encrypted, and only between those who know the stages' secret.

What crosses here looks to both ends like a connection on one machine: a thread of each process
carries the bytes between a socket pair and TLS. Everything goes through the one port of the
executor's `Listener`; links between two other stages are joined there.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from .patient_connection import as_connection
from .stage_certificate import client_context, server_context

_CONNECT_S = 60.0
_HANDSHAKE_S = 5.0
# so many at once may not have proved anything yet; the one that came first makes room
_STRANGERS = 128
_BACKLOG = 512
_MOST_WAITING = 64
_WELCOME = b"+"
_PIECE_BYTES = 1 << 18
_LINK = re.compile(r"link (?P<life>\w{1,32}) (?P<ends>\d{1,3}-\d{1,3}) (?P<rank>\d{1,3})")
_NAME = re.compile(rf"agent \d{{1,3}}|stage \d{{1,3}}|{_LINK.pattern}")

T = TypeVar("T")


class WrongKey(Exception):
    """The other side does not know the secret, or this one does not."""


@dataclass(frozen=True, slots=True)
class _Stream:
    """Both directions of a socket in the carrying thread."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def abort(self) -> None:
        """End it without a word."""
        self.writer.transport.abort()


class Listener:
    """Where agents, stages and the links between stages come in, if they know the secret.

    Visitors are let in beside each other. Who proves nothing within `handshake_s` is sent away, and
    so is the stranger that came first when there are too many: strangers keep nobody waiting.
    Raises OSError where `address`, a name or number of this machine, cannot be bound.
    """

    def __init__(
        self,
        address: tuple[str, int],
        key: bytes,
        *,
        handshake_s: float = _HANDSHAKE_S,
        strangers: int = _STRANGERS,
    ) -> None:
        self.host = address[0]
        self.key = key
        self._handshake_s = handshake_s
        self._most_strangers = strangers
        family, _, _, _, place = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0]
        self._socket = socket.create_server(place[:2], family=family, backlog=_BACKLOG)
        self._socket.setblocking(False)
        self._context = server_context(key)
        self._inside: dict[str, Connection] = {}
        self._changed = threading.Condition()
        # in the carrying thread
        self._strangers: dict[asyncio.Task[None], socket.socket] = {}
        self._waiting: dict[tuple[str, str], tuple[str, _Stream]] = {}
        self._accepting = asyncio.run_coroutine_threadsafe(self._accept(), _loop())

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._socket.getsockname()[1]

    def admit(self, name: str, timeout_s: float = _CONNECT_S) -> Connection:
        """The connection of who comes under this name. Raises TimeoutError when nobody does."""
        with self._changed:
            if not self._changed.wait_for(lambda: name in self._inside, timeout_s):
                raise TimeoutError(f"{name} did not come within {timeout_s:g} s")
            return self._inside.pop(name)

    def take(self, name: str) -> Connection | None:
        """The connection of who came under this name, if anybody did."""
        with self._changed:
            return self._inside.pop(name, None)

    def forget(self, name: str) -> None:
        """Close the connection of who came under this name and was not taken."""
        connection = self.take(name)
        if connection is not None:
            connection.close()

    def close(self) -> None:
        """Let nobody else in."""
        _run(self._close())
        for name in list(self._inside):
            self.forget(name)

    # In the carrying thread.

    async def _close(self) -> None:
        self._accepting.cancel()
        for task in list(self._strangers):
            task.cancel()
        for _, stream in self._waiting.values():
            stream.abort()
        self._waiting.clear()
        await asyncio.sleep(0)
        self._socket.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                visitor, _ = await loop.sock_accept(self._socket)
            except OSError:
                # no descriptor is left, say
                await asyncio.sleep(0.05)
                continue
            if len(self._strangers) >= self._most_strangers:
                next(iter(self._strangers)).cancel()
                # it leaves in the next turn of the loop
                await asyncio.sleep(0)
            task = loop.create_task(self._welcome(visitor))
            self._strangers[task] = visitor
            task.add_done_callback(self._leaves)

    def _leaves(self, task: asyncio.Task[None]) -> None:
        """A visitor is a stranger no more, or was sent away, perhaps before it was looked at."""
        visitor = self._strangers.pop(task)
        if task.cancelled():
            visitor.close()

    async def _welcome(self, visitor: socket.socket) -> None:
        """Let a visitor in that proves in time that it knows the secret."""
        stream: _Stream | None = None
        try:
            async with asyncio.timeout(self._handshake_s):
                _keep_alive(visitor)
                stream = await _stream_of(visitor, self._context)
                name = (await stream.reader.readuntil(b"\n"))[:-1].decode("ascii")
            if _NAME.fullmatch(name) is None:
                raise ValueError(name)
            stream.writer.write(_WELCOME)
        except BaseException as error:
            visitor.close() if stream is None else stream.abort()
            if isinstance(error, asyncio.CancelledError):
                raise
            return
        link = _LINK.fullmatch(name)
        if link is None:
            self._let_in(name, stream)
        else:
            self._join(link["life"], link["ends"], link["rank"], stream)

    def _let_in(self, name: str, stream: _Stream) -> None:
        connection = as_connection(_carried(stream))
        with self._changed:
            older = self._inside.pop(name, None)
            self._inside[name] = connection
            self._changed.notify_all()
        if older is not None:
            older.close()

    def _join(self, life: str, ends: str, rank: str, stream: _Stream) -> None:
        """One end of a link between two stages; the other one may have come before."""
        other = self._waiting.pop((life, ends), None)
        if other is not None and other[0] != rank:
            _keep(_carry_both(stream, other[1]))
            return
        if len(self._waiting) >= _MOST_WAITING:
            # of stages that were lost before they had met
            self._waiting.pop(next(iter(self._waiting)))[1].abort()
        self._waiting[life, ends] = rank, stream


def connect(address: tuple[str, int], key: bytes, name: str) -> Connection:
    """Connect to a `Listener` under a name.

    Raises OSError, or WrongKey.
    """
    return Connection(_run(_connect(address, key, name)).detach())


def link_name(life: str, ours: int, theirs: int) -> str:
    """What a stage says at the listener to be joined with another one."""
    return f"link {life} {min(ours, theirs)}-{max(ours, theirs)} {ours}"


async def _connect(address: tuple[str, int], key: bytes, name: str) -> socket.socket:
    """Our end of a socket pair that leads there."""
    try:
        async with asyncio.timeout(_CONNECT_S):
            reader, writer = await asyncio.open_connection(
                *address,
                ssl=client_context(key),
                ssl_handshake_timeout=_HANDSHAKE_S,
                limit=_PIECE_BYTES,
            )
            _keep_alive(writer.get_extra_info("socket"))
            stream = _Stream(reader, writer)
            writer.write(f"{name}\n".encode())
            # Whether our certificate was accepted is only known by what comes then.
            async with asyncio.timeout(_HANDSHAKE_S):
                await reader.readexactly(len(_WELCOME))
    except (ssl.SSLError, asyncio.IncompleteReadError) as error:
        raise WrongKey(f"the secrets of {address[0]} and this machine differ: {error}") from error
    return _carried(stream)


async def _stream_of(end: socket.socket, context: ssl.SSLContext | None = None) -> _Stream:
    """The server's side of a socket."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=_PIECE_BYTES, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    end.setblocking(False)
    transport, _ = await loop.connect_accepted_socket(lambda: protocol, end, ssl=context)
    return _Stream(reader, asyncio.StreamWriter(transport, protocol, reader, loop))


def _carried(stream: _Stream) -> socket.socket:
    """The near end of a socket pair whose bytes are carried to and from `stream`."""
    ours, theirs = socket.socketpair()

    async def carry() -> None:
        await _carry_both(await _stream_of(theirs), stream)

    _keep(carry())
    return ours


async def _carry_both(one: _Stream, other: _Stream) -> None:
    """Carry bytes both ways until either side ends; then so does the other."""
    ways = [
        asyncio.create_task(_carry(one.reader, other.writer)),
        asyncio.create_task(_carry(other.reader, one.writer)),
    ]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for stream in (one, other):
            # what was written before is still sent
            stream.writer.close()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(_PIECE_BYTES):
            writer.write(piece)
            await writer.drain()


def _keep_alive(end: socket.socket) -> None:
    """Notice within some 15 s when the other machine is gone without a word."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 6), ("TCP_KEEPINTVL", 3), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            end.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 15_000)


# The thread that carries.

_tasks: set[asyncio.Task[None]] = set()


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """Of the thread that carries, which runs as long as the process."""
    loop = asyncio.new_event_loop()
    # strangers fail in many ways, and none of them is news
    loop.set_exception_handler(lambda *_: None)
    threading.Thread(target=loop.run_forever, name="stage-links", daemon=True).start()
    return loop


def _run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run_coroutine_threadsafe(work, _loop()).result()


def _keep(work: Coroutine[Any, Any, None]) -> None:
    """Begin work in the carrying thread, which calls this; a task needs somebody who keeps it."""
    task = asyncio.get_running_loop().create_task(work)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
