"""Bytes on a socket to a running server, for what no library would send."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ..running import WAIT_S, RunningServer

HANDSHAKE = {
    "Host": "127.0.0.1",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


@dataclass
class Wire:
    """One TCP connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes | str) -> None:
        self.writer.write(data.encode() if isinstance(data, str) else data)
        await self.writer.drain()

    async def request(self, line: str, headers: dict[str, str]) -> int:
        """Send a request; the status of the answer."""
        lines = [line, *(f"{name}: {value}" for name, value in headers.items())]
        await self.send("\r\n".join([*lines, "", ""]))
        return (await self.head())[0]

    async def head(self) -> tuple[int, dict[str, str]]:
        """The status and the headers of an answer."""
        async with asyncio.timeout(WAIT_S):
            data = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = data.decode("latin-1").rstrip("\r\n").split("\r\n")
        pairs = (line.split(": ", 1) for line in lines)
        return int(first.split()[1]), {name.lower(): value for name, value in pairs}

    async def rest(self) -> bytes:
        """All that comes until the server ends the connection, however it does."""
        data = b""
        try:
            async with asyncio.timeout(WAIT_S):
                while piece := await self.reader.read(65_536):
                    data += piece
        except ConnectionError:
            pass
        return data


@asynccontextmanager
async def wire(server: RunningServer, host: str = "127.0.0.1") -> AsyncIterator[Wire]:
    """A connection to a server, cut at the end."""
    reader, writer = await asyncio.open_connection(host, server.port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()
