"""One HTTP request to a server of the fleet, over a connection of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

MOST_BYTES = 1 << 30


class NoAnswer(OSError):
    """Nobody answered, or not in time, or not in HTTP."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response; names of headers in small letters."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""


async def call(
    method: str,
    url: str,
    *,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 5.0,
) -> Answer:
    """Ask, and wait for the whole answer. Raises NoAnswer."""
    try:
        async with asyncio.timeout(timeout_s):
            return await _call(method, url, body, headers or {})
    except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError) as error:
        raise NoAnswer(f"{method} {url}: {error or type(error).__name__}") from error


async def _call(method: str, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    parts = urlsplit(url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    lines = {
        "host": parts.netloc,
        "connection": "close",
        "content-length": str(len(body)),
        **headers,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
    try:
        writer.write(f"{method} {path or '/'} HTTP/1.1\r\n{head}\r\n".encode() + body)
        await writer.drain()
        return await _answer(reader, method)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def _answer(reader: asyncio.StreamReader, method: str) -> Answer:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    status = int(head[0].split(" ", 2)[1])
    pairs = (line.partition(":") for line in head[1:] if line)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    if method == "HEAD" or status == 204:
        return Answer(status, headers)
    if "content-length" in headers:
        size = int(headers["content-length"])
        if size > MOST_BYTES:
            raise ValueError(f"an answer of {size} bytes")
        return Answer(status, headers, await reader.readexactly(size))
    if "chunked" in headers.get("transfer-encoding", ""):
        return Answer(status, headers, await _chunks(reader))
    return Answer(status, headers, await reader.read(MOST_BYTES))


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    found = bytearray()
    while size := int((await reader.readline()).split(b";")[0], 16):
        found += await reader.readexactly(size)
        await reader.readline()
    return bytes(found)
