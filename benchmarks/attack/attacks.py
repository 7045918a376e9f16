"""What somebody may do to a server: each attack is a coroutine that goes on until it is cancelled.

`python -m rollcast.benchmarks.attack.attacks NAME PORT` runs one; ROLLCAST_TOKEN has the token for
those that come from somebody who knows it.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import resource
import sys
from collections.abc import Awaitable, Callable

from .hostile_picture import many_scans
from .raw_socket import CONTINUATION, PING, TEXT, RawSocket, frame, open_stream, raw_socket, text

Attack = Callable[[int], Awaitable[None]]
SILENT = 1_100
UNREAD = 3
PICTURE_EVERY_S = 1.0
PAUSE_S = 0.05
"""Before a connection that was closed is opened again."""


async def large_json(port: int) -> None:
    """Messages of 1 MiB with the key of a picture and 110,000 unknown fields."""
    await _flood(port, _unknown_fields(110_000))


async def medium_json(port: int) -> None:
    """Messages just under 64 KiB with unknown fields."""
    await _flood(port, _unknown_fields(5_500))


async def viewer_json(port: int) -> None:
    """The same from somebody who has a stream."""
    await _flood(port, _unknown_fields(5_500), stream=True)


async def pings(port: int) -> None:
    """Empty pings, thousands in a piece."""
    await _flood(port, frame(PING) * 10_000)


async def continuations(port: int) -> None:
    """A message that is begun and goes on in empty frames."""
    begun = frame(TEXT, fin=False)
    await _flood(port, frame(CONTINUATION, fin=False) * 10_000, first=begun)


async def viewer_pings(port: int) -> None:
    """Empty pings from somebody who has a stream and reads nothing."""
    await _flood(port, frame(PING) * 10_000, stream=True, reads=False)


async def messages(port: int) -> None:
    """Short messages without end from somebody who has a stream."""
    await _flood(port, text(type="ping", t_ms=1) * 200, stream=True)


async def silent(port: int) -> None:
    """Connections that say nothing, opened again as they are closed."""
    await asyncio.gather(*(_repeat(port, RawSocket.ended) for _ in range(SILENT)))


async def connects(port: int) -> None:
    """WebSockets that are opened and left, as fast as it goes."""

    async def once(sock: RawSocket) -> None:
        await sock.handshake()

    await asyncio.gather(*(_repeat(port, once, pause_s=0.0) for _ in range(20)))


async def requests(port: int) -> None:
    """HTTP requests for what costs most, one after the other on each of 20 connections."""
    request = b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

    async def many(sock: RawSocket) -> None:
        sock.read_on()
        while True:
            await sock.send(request)

    await asyncio.gather(*(_repeat(port, many) for _ in range(20)))


async def guesses(port: int) -> None:
    """Wrong tokens."""

    async def once(sock: RawSocket) -> None:
        await sock.handshake()
        await sock.send(text(type="hello", versions=[1], codecs=["jpeg"], token="guess"))
        await sock.ended()

    await asyncio.gather(*(_repeat(port, once, pause_s=0.0) for _ in range(20)))


async def pictures(port: int) -> None:
    """Pictures that take a second or minutes to decode, from somebody who has a stream."""
    slow = [base64.b64encode(many_scans(4096, scans)).decode() for scans in (80, 12_000)]

    async def send(sock: RawSocket) -> None:
        await open_stream(sock)
        sock.read_on()
        for number in range(1_000_000):
            picture = slow[number % len(slow)]
            await sock.send(text(type="picture", event_id=f"e{number}", picture=picture))
            await asyncio.sleep(PICTURE_EVERY_S)

    await _repeat(port, send)


async def unread(port: int) -> None:
    """Streams whose media nobody reads, although it is acknowledged."""

    async def watch(sock: RawSocket) -> None:
        await open_stream(sock)
        for count in range(1_000_000):
            await sock.send(text(type="ack", playhead_us=40_000 * count, last_seq=-1))
            await asyncio.sleep(0.04)

    await asyncio.gather(*(_repeat(port, watch) for _ in range(UNREAD)))


ATTACKS: dict[str, Attack] = {
    attack.__name__: attack
    for attack in (
        *(large_json, medium_json, viewer_json, pings, continuations, viewer_pings, messages),
        *(silent, connects, requests, guesses, pictures, unread),
    )
}

TAKES_PLACES = (unread.__name__,)
"""Attacks that are as many streams as they get, each of which costs what any stream costs."""


async def _flood(
    port: int, data: bytes, *, first: bytes = b"", stream: bool = False, reads: bool = True
) -> None:
    """Send the same over and over."""

    async def send(sock: RawSocket) -> None:
        await (open_stream(sock) if stream else sock.handshake())
        if reads:
            sock.read_on()
        await sock.send(first)
        while True:
            await sock.send(data)

    await _repeat(port, send)


async def _repeat(
    port: int, act: Callable[[RawSocket], Awaitable[None]], pause_s: float = PAUSE_S
) -> None:
    """Do it on one connection after the other."""
    while True:
        with contextlib.suppress(OSError, EOFError):
            async with raw_socket(port) as sock:
                await act(sock)
        await asyncio.sleep(pause_s)


def _unknown_fields(count: int) -> bytes:
    fields = {f"a{number:x}": 1 for number in range(count)}
    return frame(TEXT, json.dumps({"picture": "", **fields}, separators=(",", ":")).encode())


def main() -> None:
    """Run as a process: NAME PORT."""
    name, port = sys.argv[1], int(sys.argv[2])
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(_run(ATTACKS[name], port))


async def _run(attack: Attack, port: int) -> None:
    await attack(port)


if __name__ == "__main__":
    main()
