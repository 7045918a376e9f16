"""A WebSocket without manners: frames as bytes, sent as fast as they are taken."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

TEXT, PING, CONTINUATION = 0x1, 0x9, 0x0
_HANDSHAKE = (
    "GET /v1/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    """A client's frame, masked with zeros, which leave the payload as it is."""
    count = len(payload)
    if count < 126:
        length = bytes([0x80 | count])
    elif count < 65_536:
        length = bytes([0x80 | 126]) + struct.pack(">H", count)
    else:
        length = bytes([0x80 | 127]) + struct.pack(">Q", count)
    return bytes([(0x80 if fin else 0) | opcode]) + length + bytes(4) + payload


def text(**message: object) -> bytes:
    """A message as a frame."""
    return frame(TEXT, json.dumps(message).encode())


class RawSocket:
    """One connection whose answers are thrown away, unless they are not even read."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._task: asyncio.Task[None] | None = None

    async def send(self, data: bytes) -> None:
        """Send bytes; returns when the server has taken most of them. Raises OSError."""
        self._writer.write(data)
        await self._writer.drain()

    async def handshake(self) -> None:
        """Become a WebSocket. Raises EOFError if the server does not want it."""
        await self.send(_HANDSHAKE.encode())
        await self._reader.readuntil(b"\r\n\r\n")

    def read_on(self) -> None:
        """From now on read what comes, so that the server never waits for it to be taken."""
        self._task = asyncio.create_task(self._discard())

    async def ended(self) -> None:
        """Return when the server has closed the connection."""
        with contextlib.suppress(OSError):
            while await self._reader.read(65_536):
                pass

    async def close(self) -> None:
        """End it at once."""
        if self._task is not None:
            self._task.cancel()
        self._writer.transport.abort()

    async def _discard(self) -> None:
        await self.ended()
        self._writer.transport.abort()


@asynccontextmanager
async def raw_socket(port: int) -> AsyncIterator[RawSocket]:
    """A TCP connection to 127.0.0.1. Raises OSError."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    sock = RawSocket(reader, writer)
    try:
        yield sock
    finally:
        await sock.close()


async def open_stream(sock: RawSocket, **create: object) -> None:
    """Say what opens a stream, without waiting for the answers; ROLLCAST_TOKEN has the token."""
    await sock.handshake()
    token = os.environ.get("ROLLCAST_TOKEN")
    await sock.send(text(type="hello", versions=[1], codecs=["jpeg"], token=token))
    await sock.send(text(type="session.create", **create))
