"""Who waits too long or takes nothing is ended; nobody who keeps silent shuts others out."""

from __future__ import annotations

from typing import Any

import pytest

from rollcast.server.web.addresses import network_of
from rollcast.server.web.connections import SOON_TAKEN, ConnectionLimits, Connections

LIMITS = ConnectionLimits(
    total=8, waiting=6, waiting_per_address=3, new_per_address_at_once=100, wait_s=10.0, stall_s=5.0
)


class FakeTransport:
    """With a write buffer that a test fills, and an end that it sees."""

    def __init__(self) -> None:
        self.unread = 0
        self.closing = False
        self.aborted = False

    def get_write_buffer_size(self) -> int:
        return self.unread

    def is_closing(self) -> bool:
        return self.closing or self.aborted

    def abort(self) -> None:
        self.aborted = True


class FakeSocket:
    """A socket that a test sees shut down."""

    def __init__(self) -> None:
        self.shut = False

    def shutdown(self, how: int) -> None:
        self.shut = True


class Table:
    """Connections whose peers are (address, port)."""

    def __init__(self, limits: ConnectionLimits = LIMITS, trusted: tuple[str, ...] = ()) -> None:
        self.all = Connections(limits, trusted)
        self.transports: dict[tuple[str, int], FakeTransport] = {}
        self.sockets: dict[tuple[str, int], Any] = {}

    def connect(self, port: int, address: str = "192.0.2.1", at_s: float = 0.0) -> bool:
        peer, transport = (address, port), FakeTransport()
        fake: Any = FakeSocket()
        self.sockets[peer] = fake
        admitted = self.all.admit(fake, peer, at_s)
        if admitted:
            self.transports[peer] = transport
            made: Any = transport
            self.all.made(peer, made)
        return admitted

    def ended(self) -> list[int]:
        return [port for (_, port), each in self.transports.items() if each.aborted]


def test_who_waits_too_long_is_ended_and_who_is_served_is_not() -> None:
    table = Table()
    for port in (1, 2, 3):
        table.connect(port)
    table.all.served(("192.0.2.1", 2))
    table.all.waits(("192.0.2.1", 3), 25.0)
    table.all.sweep(9.9)
    assert table.ended() == []
    table.all.sweep(10.0)
    assert table.ended() == [1]
    table.all.sweep(25.0)
    assert table.ended() == [1, 3]


def test_one_in_its_tls_handshake_is_ended_by_its_socket() -> None:
    connections, sock = Connections(LIMITS), FakeSocket()
    fake: Any = sock
    connections.admit(fake, ("192.0.2.1", 1), 0.0)
    connections.sweep(11.0)
    assert sock.shut


def test_over_the_limit_of_an_address_its_oldest_makes_room() -> None:
    table = Table()
    assert all(table.connect(port) for port in range(5))
    assert table.ended() == [0, 1]
    assert table.connect(9, "198.51.100.1") and len(table.ended()) == 2


@pytest.mark.parametrize("trusted", ["192.0.2.1", "192.0.2.0/24"])
def test_a_proxy_that_is_trusted_has_no_limit_of_its_own(trusted: str) -> None:
    table = Table(trusted=("198.51.100.0/24", trusted))
    assert all(table.connect(port) for port in range(5))
    assert table.ended() == []


def test_over_the_limit_of_all_that_wait_the_busiest_address_makes_room() -> None:
    table = Table()
    for port, address in enumerate(["192.0.2.1"] * 3 + [f"198.51.100.{n}" for n in range(4)]):
        assert table.connect(port, address)
    assert table.ended() == [0]


def test_when_all_are_served_a_newcomer_is_refused_and_comes_in_when_one_has_left() -> None:
    table = Table()
    for port in range(8):
        table.connect(port, f"192.0.2.{port}")
        table.all.served((f"192.0.2.{port}", port))
    assert not table.connect(9) and table.all.refused == 1
    peer = ("192.0.2.0", 0)
    other: Any = FakeSocket()
    table.all.closed(peer, other)
    assert len(table.all) == 8, "that was one before it with the same port"
    table.all.closed(peer, table.sockets[peer])
    assert table.connect(9) and len(table.all) == 8


def test_an_address_that_connects_without_end_is_refused_and_no_other() -> None:
    limits = ConnectionLimits(new_per_address_at_once=3, new_per_address_per_s=1)
    table = Table(limits)
    assert [table.connect(port) for port in range(4)] == [True, True, True, False]
    assert table.connect(4, "198.51.100.1") and table.connect(5, at_s=1.0)


def test_who_takes_nothing_is_ended_after_a_while() -> None:
    table = Table()
    table.connect(1)
    table.all.served(("192.0.2.1", 1))
    transport = table.transports["192.0.2.1", 1]
    transport.unread = 60_000
    for at_s in range(5):
        table.all.sweep(at_s)
    assert not transport.aborted
    table.all.sweep(5.0)
    assert transport.aborted


@pytest.mark.parametrize("sizes", [[60_000, 59_999, 59_998, 59_997], [10, 20, 30, SOON_TAKEN]])
def test_who_takes_little_is_not(sizes: list[int]) -> None:
    table = Table()
    table.connect(1)
    table.all.served(("192.0.2.1", 1))
    transport = table.transports["192.0.2.1", 1]
    for turn, size in enumerate(sizes):
        transport.unread = size
        table.all.sweep(4.0 * turn)
    assert not transport.aborted


def test_who_does_not_let_itself_be_closed_is_ended_although_it_reads() -> None:
    table = Table()
    table.connect(1)
    table.all.served(("192.0.2.1", 1))
    transport = table.transports["192.0.2.1", 1]
    transport.closing = True
    for at_s, size in ((0.0, 900), (2.0, 600), (4.0, 300)):
        transport.unread = size
        table.all.sweep(at_s)
    assert not transport.aborted
    table.all.sweep(5.0)
    assert transport.aborted


@pytest.mark.parametrize("descriptors", [64, 256, 1024, 4096, 1 << 20])
def test_limits_leave_room_for_other_files(descriptors: int) -> None:
    limits = ConnectionLimits().within(descriptors)
    assert limits.waiting_per_address < limits.waiting < limits.total
    assert descriptors == 64 or limits.total <= descriptors - 64
    assert limits.total <= ConnectionLimits().total


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::1", "::1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("/run/rollcast.sock", "/run/rollcast.sock"),
        ("", ""),
    ],
)
def test_an_address_of_ipv6_stands_for_its_network(host: str, network: str) -> None:
    assert network_of(host) == network
