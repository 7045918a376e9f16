"""What people paste finds the server: with a prefix, a token, a proxy on the way or none."""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from rollcast.client import ClientError, Frame, ProtocolError, Refused, connect
from rollcast.client.address import Address, is_loopback, may_take_proxy, stream_url

from ..server.running import RunningServer, running

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "ws_proxy", "socks_proxy", "no_proxy")
Handler = Callable[[StreamReader, StreamWriter], Awaitable[None]]


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("http://a:1", "ws://a:1/v1/stream"),
        ("https://a/", "wss://a/v1/stream"),
        ("127.0.0.1:8000", "ws://127.0.0.1:8000/v1/stream"),
        ("  http://a/  ", "ws://a/v1/stream"),
        ("http://[::1]:8000/", "ws://[::1]:8000/v1/stream"),
        ("wss://a/other/stream", "wss://a/other/stream"),
        ("ws://a/prefix/", "ws://a/prefix/v1/stream"),
        ("http://a/prefix/", "ws://a/prefix/v1/stream"),
        ("http://a/prefix", "ws://a/prefix/v1/stream"),
        ("http://a/two/parts/index.html", "ws://a/two/parts/v1/stream"),
        ("https://a/prefix/v1/stream", "wss://a/prefix/v1/stream"),
        ("http://a/prefix/?scene=sea#token=x", "ws://a/prefix/v1/stream?scene=sea"),
    ],
)
def test_addresses(given: str, wanted: str) -> None:
    assert stream_url(given) == wanted


@pytest.mark.parametrize(
    "given", ["", "ftp://a", "http://", "http://a:port/", "http://a:99999", "http://[::1"]
)
def test_addresses_that_are_none(given: str) -> None:
    with pytest.raises(ValueError, match="looks like http"):
        stream_url(given)


@pytest.mark.parametrize(
    ("url", "token", "wanted"),
    [
        ("http://a/#token=s3cret", None, "s3cret"),
        ("http://a/#token=a+b%2Fc%2B", None, "a+b/c+"),
        ("http://a/#x=1&token=y", None, "y"),
        ("http://a/#token=pasted", "given", "given"),
        ("http://a/#token=pasted", "  \n", "pasted"),
        ("http://a/", " from a file\n", "from a file"),
        ("http://a/#token=", None, None),
        ("http://a/", None, None),
    ],
)
def test_a_token_is_taken_from_where_it_is(url: str, token: str | None, wanted: str | None) -> None:
    assert Address(url, token).secret == wanted


async def watch(url: str) -> None:
    """See one frame."""
    async with connect(url) as stream:
        async for media in stream:
            if isinstance(media, Frame):
                return


async def test_a_pasted_token_opens_the_stream() -> None:
    async with running(token="a+b") as server:
        await watch(f"{server.http}/#token=a+b")
        with pytest.raises(Refused, match="unauthorized"):
            await watch(server.http)


@asynccontextmanager
async def listening(handler: Handler) -> AsyncIterator[int]:
    """A server of something else on a port."""
    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def copy(reader: StreamReader, writer: StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
    writer.close()


def prefix_proxy(server: RunningServer, *, strips: str = "") -> Handler:
    """Serves under /prefix/, and leaves out the header `strips`."""

    async def handle(reader: StreamReader, writer: StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines = head.replace("GET /prefix/", "GET /", 1).split("\r\n")
        kept = [line for line in lines if not (strips and line.lower().startswith(strips))]
        if not any(line.lower().startswith("upgrade:") for line in kept):
            # one request for each connection, so that each is rewritten
            kept = [line for line in kept if not line.lower().startswith("connection:")]
            kept[1:1] = ["Connection: close"]
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", server.port)
        up_writer.write("\r\n".join(kept).encode())
        await asyncio.gather(copy(reader, up_writer), copy(up_reader, writer))

    return handle


async def test_a_server_under_a_prefix_is_found() -> None:
    async with running() as server, listening(prefix_proxy(server)) as port:
        await watch(f"http://127.0.0.1:{port}/prefix/")


async def test_a_proxy_that_strips_upgrade_is_told_of() -> None:
    async with running() as server, listening(prefix_proxy(server, strips="upgrade:")) as port:
        with pytest.raises(ClientError, match="has to pass the headers Upgrade"):
            await watch(f"http://127.0.0.1:{port}/prefix/")


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        ("403 Forbidden", "strange hosts"),
        ("421 Misdirected Request", "--allow-host"),
        ("431 Request Header Fields Too Large", "long headers"),
        ("200 OK", "headers Upgrade"),
        ("503 Service Unavailable", "try again"),
    ],
)
async def test_what_answers_instead_of_a_socket_is_said_with_a_cure(status: str, hint: str) -> None:
    async def answer(reader: StreamReader, writer: StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
        writer.close()

    async with listening(answer) as port:
        with pytest.raises(Refused, match=hint) as refused:
            await watch(f"http://127.0.0.1:{port}/#token=s3cret")
    assert refused.value.code == f"http_{status[:3]}"
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    "proxy",
    ["http://127.0.0.1:1", "socks5://127.0.0.1:1", "nonsense", "http://a:port", "http://u@h:1"],
)
async def test_a_server_on_this_machine_is_reached_without_a_proxy(
    monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    for name in PROXIES[:-1]:
        monkeypatch.setenv(name, proxy)
    async with running() as server:
        await watch(server.http)
        await watch(f"http://localhost:{server.port}")


@pytest.mark.parametrize(
    ("proxy", "why"),
    [
        ("nonsense", "isn't supported"),
        ("ftp://a:1", "isn't supported"),
        ("http://h:port", "(?i)port"),
        ("http://user@h:1", "password"),
        ("http://127.0.0.1:1", "(?i)connect"),
        ("socks5://127.0.0.1:1", "SOCKS|connect"),
    ],
)
async def test_a_proxy_that_does_not_work_is_one_clear_error(
    monkeypatch: pytest.MonkeyPatch, proxy: str, why: str
) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    with pytest.raises(ProtocolError, match=why) as error:
        await watch("http://server.test:8000")
    assert "Correct http_proxy" in str(error.value) and "server.test" in str(error.value)


async def test_other_servers_are_reached_by_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    async with running(allowed_hosts=("server.test",)) as server:

        async def tunnel(reader: StreamReader, writer: StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            asked.append(head.decode().split("\r\n")[0])
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            await asyncio.gather(copy(reader, up_writer), copy(up_reader, writer))

        async with listening(tunnel) as port:
            monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
            await watch("http://server.test:8000")
    assert asked == ["CONNECT server.test:8000 HTTP/1.1"]


def test_what_is_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.test:1")
    for host in ("127.0.0.1", "127.8.9.1", "localhost", "LOCALHOST", "a.localhost", "[::1]"):
        assert is_loopback(f"ws://{host}:8000/v1/stream")
        assert not may_take_proxy(f"ws://{host}:8000/v1/stream")
    for host in ("10.0.0.1", "localhost.test", "127.0.0.1.test", "[fe80::1]"):
        assert not is_loopback(f"ws://{host}:8000/v1/stream")
        assert may_take_proxy(f"ws://{host}:8000/v1/stream")
    monkeypatch.setenv("no_proxy", "10.0.0.1")
    assert not may_take_proxy("ws://10.0.0.1:8000/v1/stream")
