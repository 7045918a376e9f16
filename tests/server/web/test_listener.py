"""Addresses that are listened at, and connections that are counted while they are open."""

from __future__ import annotations

import asyncio
import resource
import socket
import subprocess
import sys

import httpx
import pytest

from rollcast.server.descriptors import descriptor_limit
from rollcast.server.web.connections import ConnectionLimits, Connections
from rollcast.server.web.listener import CountingListener, open_listener

from ..running import running, until

needs_ipv6 = pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")


@needs_ipv6
@pytest.mark.parametrize("address", ["127.0.0.1", "[::1]"])
async def test_two_colons_are_all_addresses_of_both_families(address: str) -> None:
    async with running(host="::", token="hush-hush") as server, httpx.AsyncClient() as client:
        answer = await client.get(f"http://{address}:{server.port}/health")
        assert answer.status_code == 200


@needs_ipv6
def test_another_address_of_ipv6_is_that_address_alone() -> None:
    with open_listener("::1", 0) as listener, socket.socket() as other:
        other.settimeout(5)
        with pytest.raises(OSError):
            other.connect(("127.0.0.1", listener.getsockname()[1]))


def test_what_is_accepted_is_counted_until_it_is_closed() -> None:
    connections = Connections(ConnectionLimits(new_per_address_at_once=2))
    with CountingListener(open_listener("127.0.0.1", 0), connections) as listener:
        clients = [socket.create_connection(listener.getsockname()) for _ in range(3)]
        for client in clients:
            client.sendall(b"x")
        (a, _), (b, _) = listener.accept(), listener.accept()
        assert len(connections) == 2
        copy = a.dup()
        a.close()
        assert len(connections) == 1
        with pytest.raises(BlockingIOError):
            listener.accept()
        assert connections.refused == 1 and len(connections) == 1
        for sock in (*clients, b, copy):
            sock.close()
        assert len(connections) == 0


async def test_what_is_accepted_sends_at_once() -> None:
    """Whatever of it was not acknowledged yet: asyncio asks for that only where it sees TCP."""
    made: asyncio.Future[int]

    class Accepted(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            sock = transport.get_extra_info("socket")
            made.set_result(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            transport.close()

    connections = Connections(ConnectionLimits())
    for listener in (
        open_listener("127.0.0.1", 0),
        CountingListener(open_listener("127.0.0.1", 0), connections),
    ):
        made = asyncio.get_running_loop().create_future()
        server = await asyncio.get_running_loop().create_server(Accepted, sock=listener)
        with socket.create_connection(listener.getsockname()) as client:
            client.sendall(b"x")
            assert await asyncio.wait_for(made, 10.0)
        server.close()
        await server.wait_closed()


async def test_a_server_counts_nothing_twice_and_forgets_nothing() -> None:
    async with running() as server:
        async with httpx.AsyncClient(base_url=server.http) as client:
            for _ in range(3):
                await client.get("/health")
            assert len(server.server.connections) == 1
        await until(lambda: len(server.server.connections) == 0)


def test_the_limit_on_open_files_is_raised_as_far_as_it_may_be() -> None:
    """In a process of its own, whose hard limit is low."""
    script = (
        "import resource as r\n"
        "from rollcast.server.descriptors import raise_descriptor_limit\n"
        "r.setrlimit(r.RLIMIT_NOFILE, (200, 700))\n"
        "print(raise_descriptor_limit(), *r.getrlimit(r.RLIMIT_NOFILE))\n"
        "print(raise_descriptor_limit(300))\n"
    )
    told = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, check=True)
    assert told.stdout.split() == [b"700", b"700", b"700", b"700"]
    assert descriptor_limit() == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
