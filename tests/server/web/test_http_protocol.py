"""HTTP as the standards want it, and no longer, larger or more often than it should be."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path

import httpx
import pytest

from rollcast.server.web.connections import ConnectionLimits

from ..running import running, until
from .wire import HANDSHAKE, wire

SOON = ConnectionLimits(wait_s=0.3, stall_s=1.0)
STREAM = "GET /v1/stream HTTP/1.1"


@pytest.mark.parametrize("size", [100, 9_000, 20_000, 60_000])
async def test_large_cookies_do_not_keep_a_websocket_out(size: int) -> None:
    """Other programs of the same host and proxies that authenticate leave such lines."""
    async with running() as server, wire(server) as client:
        headers = {**HANDSHAKE, "Cookie": "c" * size, "X-Proxy-Said": "p" * (size // 10)}
        assert await client.request(STREAM, headers) == 101


async def test_many_headers_do_not_keep_a_websocket_out() -> None:
    async with running() as server, wire(server) as client:
        more = {f"X-Header-{number}": "v" for number in range(300)}
        assert await client.request(STREAM, {**HANDSHAKE, **more}) == 101


@pytest.mark.parametrize(
    "more",
    [
        {"Origin": "http://127.0.0.1/" + "o" * 9_000},
        {"Sec-WebSocket-Protocol": "p" * 9_000},
        {f"X-Forwarded-{number}": "v" for number in range(200)},
        {"Cookie": "c" * 400_000},
    ],
)
async def test_a_handshake_that_is_too_large_is_refused_at_once(more: dict[str, str]) -> None:
    async with running() as server, wire(server) as client:
        assert await client.request(STREAM, {**HANDSHAKE, **more}) == 431


@pytest.mark.parametrize(
    ("line", "change"),
    [
        ("GET /v1/stream HTTP/1.0", {}),
        (STREAM, {"Upgrade": "", "Connection": "close"}),
        (STREAM, {"Sec-WebSocket-Version": "8"}),
        (STREAM, {"Sec-WebSocket-Version": ""}),
        (STREAM, {"Sec-WebSocket-Version": "thirteen"}),
    ],
)
async def test_what_is_no_handshake_is_told_to_upgrade(line: str, change: dict[str, str]) -> None:
    async with running() as server, wire(server) as client:
        headers = {name: value for name, value in {**HANDSHAKE, **change}.items() if value}
        await client.send("\r\n".join([line, *(f"{k}: {v}" for k, v in headers.items()), "", ""]))
        status, answer = await client.head()
        assert (status, answer["upgrade"]) == (426, "websocket")
        if "Sec-WebSocket-Version" in change:
            assert answer["sec-websocket-version"] == "13"


async def test_head_is_answered_like_get_without_the_body() -> None:
    async with running() as server, httpx.AsyncClient(base_url=server.http) as client:
        (model,) = (await client.get("/v1/models")).json()
        thumbnail = model["inputs"]["scenes"][1]["thumbnail"]
        described = (await client.get("/openapi.json")).json()["paths"]
        routes = {path for path, methods in described.items() if "get" in methods}
        assert routes >= {"/health", "/ready", "/metrics", "/v1/models", "/v1/sessions"}
        plain = [path for path in routes if "{" not in path]
        for path in (*plain, thumbnail, "/", "/client/main.js", "/openapi.json", "/v1/stream"):
            get, head = await client.get(path), await client.head(path)
            assert head.status_code == get.status_code, path
            assert head.headers["content-type"] == get.headers["content-type"], path
            assert not head.content, path
            if path != "/metrics":  # it counts what happens meanwhile
                assert head.headers["content-length"] == get.headers["content-length"], path
        assert (await client.head("/nothing")).status_code == 404


@pytest.mark.parametrize("sent", ["", "GET / HT", "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: "])
async def test_a_request_that_does_not_come_ends_the_connection(sent: str) -> None:
    async with running(limits=SOON) as server, wire(server) as client:
        await client.send(sent)
        assert await client.rest() == b""
        await until(lambda: len(server.server.connections) == 0)


async def test_a_request_that_comes_drop_by_drop_ends_the_connection() -> None:
    async with running(limits=SOON) as server, wire(server) as client:
        with pytest.raises(ConnectionError):
            for _ in range(1_000):
                await client.send("X")
                await asyncio.sleep(0.02)


async def test_a_body_that_comes_drop_by_drop_ends_the_connection() -> None:
    async with running(limits=SOON) as server, wire(server) as client:
        headers = {"Host": "127.0.0.1", "Content-Length": "1000000"}
        assert await client.request("GET /health HTTP/1.1", headers) == 200
        with pytest.raises(ConnectionError):
            for _ in range(1_000):
                await client.send("X")
                await asyncio.sleep(0.02)


async def test_a_connection_without_a_further_request_is_closed() -> None:
    async with running(limits=SOON) as server, wire(server) as client:
        assert await client.request("GET /health HTTP/1.1", {"Host": "127.0.0.1"}) == 200
        await client.rest()
        await until(lambda: len(server.server.connections) == 0)


async def test_a_silent_tls_handshake_ends_and_others_go_on(tmp_path: Path) -> None:
    async with (
        running(limits=SOON, self_signed=True, state_dir=tmp_path) as server,
        wire(server) as silent,
        wire(server) as garbage,
    ):
        await garbage.send(b"\x16\x03\x01")
        async with httpx.AsyncClient(verify=False) as client:
            answer = await client.get(f"{server.http}/health")
        assert answer.status_code == 200
        assert answer.headers["strict-transport-security"].startswith("max-age=")
        assert await silent.rest() == b"" == await garbage.rest()


async def test_only_tls_is_promised_to_stay() -> None:
    async with running() as server, httpx.AsyncClient() as client:
        headers = (await client.get(f"{server.http}/health")).headers
        assert "strict-transport-security" not in headers


async def test_localhost_is_left_alone_since_other_servers_have_that_name(tmp_path: Path) -> None:
    async with (
        running(self_signed=True, state_dir=tmp_path) as server,
        httpx.AsyncClient(verify=False) as client,
    ):
        headers = {"Host": f"localhost:{server.port}"}
        answer = await client.get(f"{server.http}/health", headers=headers)
        assert "strict-transport-security" not in answer.headers


async def test_hundreds_of_silent_connections_leave_room_for_health_and_the_page() -> None:
    limits = ConnectionLimits(waiting_per_address=50, wait_s=60.0)
    async with running(limits=limits) as server:
        silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(200)]
        try:
            for sock in silent:
                sock.sendall(b"G")  # or the system would keep it to itself for a second
            connections = server.server.connections
            await until(lambda: connections.ended >= 150)
            async with httpx.AsyncClient(base_url=server.http) as client:
                for path in ("/health", "/", "/health"):
                    assert (await client.get(path)).status_code == 200
            assert connections.waiting <= 50
        finally:
            for sock in silent:
                sock.close()
        await until(lambda: len(server.server.connections) == 0)


async def test_requests_without_end_are_answered_later_and_health_at_once() -> None:
    async with running() as server, wire(server) as busy:
        request = "GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        await busy.send(request * 400)
        async with httpx.AsyncClient(base_url=server.http) as client:
            await asyncio.sleep(0.5)
            assert (await client.get("/health")).status_code == 200
            answered = 0
            while answered < 60:
                await busy.reader.readuntil(b"HTTP/1.1 200")
                answered += 1
            assert not busy.reader.at_eof(), "none is refused"


async def test_an_answer_that_nobody_takes_ends_the_connection() -> None:
    async with running(limits=SOON) as server:
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(("127.0.0.1", server.port))
            sock.setblocking(False)
            request = b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 60
            await asyncio.get_running_loop().sock_sendall(sock, request)
            await until(lambda: len(server.server.connections) == 1)
            await until(lambda: len(server.server.connections) == 0)


async def test_tls_is_not_asked_for_on_a_plain_port_without_an_answer() -> None:
    """A client that speaks TLS to a plain server hears at once that it is wrong."""
    async with running() as server:
        context = ssl.create_default_context()
        with pytest.raises(ssl.SSLError):
            await asyncio.open_connection("127.0.0.1", server.port, ssl=context)


async def test_there_are_only_so_many_websockets_and_the_rest_is_served() -> None:
    async with running(limits=ConnectionLimits(websockets=2)) as server:
        async with wire(server) as a, wire(server) as b, wire(server) as c:
            assert [await x.request(STREAM, HANDSHAKE) for x in (a, b, c)] == [101, 101, 503]
            async with wire(server) as other:
                assert await other.request("GET /health HTTP/1.1", {"Host": "127.0.0.1"}) == 200
        await until(lambda: server.server.connections.websockets == 0)
        async with wire(server) as again:
            assert await again.request(STREAM, HANDSHAKE) == 101
