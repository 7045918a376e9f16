"""All frames of a WebSocket count, and what comes too fast waits in the sender's own network."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from rollcast.benchmarks.attack.raw_socket import CONTINUATION, PING, TEXT, frame, text
from rollcast.server.web.pace import AddressPaces, Allowance, FramePace
from rollcast.server.web.paced_protocol import MAX_FRAGMENTS, PacedProtocol

from ..running import WAIT_S, RunningServer, running, until, viewing
from .wire import HANDSHAKE, Wire, wire

HELLO = text(type="hello", versions=[1], codecs=["jpeg"])
BINARY, CLOSE, PONG = 0x2, 0x8, 0xA


@asynccontextmanager
async def websocket(server: RunningServer) -> AsyncIterator[Wire]:
    async with wire(server) as client:
        assert await client.request("GET /v1/stream HTTP/1.1", HANDSHAKE) == 101
        yield client


async def received(client: Wire) -> tuple[int, bytes]:
    """The opcode and the payload of the next frame."""
    async with asyncio.timeout(WAIT_S):
        first, count = await client.reader.readexactly(2)
        if count == 126:
            count = int.from_bytes(await client.reader.readexactly(2), "big")
        elif count == 127:
            count = int.from_bytes(await client.reader.readexactly(8), "big")
        return first & 0xF, await client.reader.readexactly(count)


async def close_code(client: Wire) -> int:
    while True:
        opcode, payload = await received(client)
        if opcode == CLOSE:
            return int.from_bytes(payload[:2], "big")


@pytest.mark.parametrize(
    ("first", "flood"),
    [
        (b"", frame(PING)),
        (b"", frame(PONG)),
        (frame(TEXT, fin=False), frame(CONTINUATION, fin=False)),
        (b"", frame(TEXT, b"{")),
        (b"", frame(BINARY)),
    ],
)
async def test_a_flood_of_frames_is_read_slowly(first: bytes, flood: bytes) -> None:
    """What has not been read stays with the sender, which is blocked."""
    async with running() as server, websocket(server) as client, viewing(server.ws) as viewer:
        await viewer.wait_frames(1)
        await client.send(first)
        sent = asyncio.create_task(client.send(flood * 3_000_000))
        await asyncio.sleep(0.5)
        count = len(viewer.video)
        await viewer.wait_frames(count + 25)
        assert not sent.done()
        sent.cancel()


async def test_a_burst_that_is_permitted_is_answered_whole() -> None:
    async with running() as server, websocket(server) as client:
        await client.send(b"".join(frame(PING, b"%d" % number) for number in range(150)))
        answers = [await received(client) for _ in range(150)]
        assert answers == [(PONG, b"%d" % number) for number in range(150)]


async def test_more_than_a_burst_is_answered_later() -> None:
    async with running() as server, websocket(server) as client:
        await client.send(b"".join(frame(PING, b"%d" % number) for number in range(260)))
        answers = [await received(client) for _ in range(260)]
        assert answers[-1] == (PONG, b"259")


def test_before_a_stream_all_connections_of_an_address_share_a_pace() -> None:
    shared = AddressPaces(
        frames=Allowance(per_s=1, at_once=10).per_address(),
        bytes=Allowance(per_s=1e6, at_once=1e6).per_address(),
    )
    a, b, other = (FramePace(address, shared, 0.0) for address in ("a", "a", "b"))
    a.spend(12, 0, 0.0)
    assert a.wait_s(0.0) == b.wait_s(0.0) == 2.0 and other.wait_s(0.0) == 0.0
    b.stream_opened(0.0)
    assert b.wait_s(0.0) == 0.0, "a viewer does not pay for its neighbours"
    a.stream_opened(0.0)
    a.spend(2_500, 0, 0.0)
    assert 0.05 < a.wait_s(0.0) < 0.2 and b.wait_s(0.0) == 0.0


def test_bytes_count_as_well() -> None:
    pace = FramePace("a", AddressPaces(), 0.0)
    pace.spend(1, 5_000_000, 0.0)
    assert pace.wait_s(0.0) == pytest.approx(4.0)


async def test_a_message_in_too_many_fragments_ends_the_connection() -> None:
    async with running() as server, websocket(server) as client:
        await client.send(HELLO + text(type="session.create"))
        while (await received(client))[0] != BINARY:
            pass
        await client.send(frame(TEXT, b"{", fin=False))
        more = frame(CONTINUATION, b" ", fin=False) * (MAX_FRAGMENTS + 1)
        await client.send(more)
        assert await close_code(client) == 1009


async def test_a_message_in_some_fragments_is_one_message() -> None:
    async with running() as server, websocket(server) as client:
        whole = json.dumps({"type": "hello", "versions": [1], "codecs": ["jpeg"]}).encode()
        pieces = [whole[k : k + 1] for k in range(len(whole))]
        await client.send(frame(TEXT, pieces[0], fin=False))
        for piece in pieces[1:]:
            await client.send(frame(CONTINUATION, piece, fin=False))
        await client.send(frame(PING, b"between") + frame(CONTINUATION))
        answers = dict([await received(client), await received(client)])
        assert answers[PONG] == b"between" and b'"hello"' in answers[TEXT]


@pytest.mark.parametrize(
    "piece",
    [
        frame(TEXT, b"nonsense") + frame(TEXT, b"\xff\xfe"),
        frame(TEXT, b"\xff"),
        frame(TEXT, b"\xed\xa0\x80"),
        frame(TEXT, b"{", fin=False) + frame(CONTINUATION, b"\xc3"),
    ],
)
async def test_text_that_is_no_utf_8_is_closed_with_1007_and_logged_by_no_traceback(
    piece: bytes, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    async with running(token="hush-hush") as server:
        for _ in range(5):
            async with websocket(server) as client:
                await client.send(piece)
                assert await close_code(client) == 1007
        await until(lambda: len(server.server.connections) == 0)
    assert not [record for record in caplog.records if record.exc_info]
    assert "hush" not in caplog.text + "".join(capfd.readouterr())


async def test_a_peer_that_pings_and_reads_nothing_is_owed_its_newest_pong_alone() -> None:
    async with running() as server, websocket(server) as client:
        (protocol,) = server.server.server_state.connections
        assert isinstance(protocol, PacedProtocol)
        protocol.pause_writing()  # as when what was sent is not taken
        await client.send(b"".join(frame(PING, b"%d" % number) for number in range(100)))
        await until(lambda: protocol._owed_pong.endswith(b"99"))
        assert protocol.transport.get_write_buffer_size() == 0
        protocol.resume_writing()
        await client.send(frame(PING, b"and on"))
        assert [await received(client) for _ in range(2)] == [(PONG, b"99"), (PONG, b"and on")]


async def test_a_viewer_who_reads_nothing_is_cut_off_and_may_come_back() -> None:
    async with running(send_timeout_s=0.5) as server, websocket(server) as client:
        await client.send(HELLO + text(type="session.create"))
        await until(lambda: len(server.engine.streams) == 1)
        client.writer.transport.pause_reading()  # pyright: ignore[reportAttributeAccessIssue]

        async def flood() -> None:
            for count in range(1_000_000):
                ack = text(type="ack", playhead_us=40_000 * count, last_seq=count)
                await client.send(frame(PING, bytes(125)) * 200 + ack)

        sent = asyncio.create_task(flood())
        await until(lambda: len(server.server.connections) == 0)
        await asyncio.gather(sent, return_exceptions=True)
        (stream,) = server.engine.streams
        await until(lambda: not stream.session.attached)


async def test_a_close_in_a_flood_is_heard() -> None:
    async with running(grace_s=600.0) as server, websocket(server) as client:
        await client.send(HELLO + text(type="session.create"))
        await until(lambda: len(server.engine.streams) == 1)
        await client.send(frame(PING) * 2_000 + text(type="session.close"))
        client.writer.transport.abort()
        await until(lambda: not server.engine.streams)
