"""Connections between machines: for who knows the secret, for nobody beside or between them."""

from __future__ import annotations

import secrets
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from multiprocessing.connection import Connection

import pytest

from rollcast.models.pipeline.messages import Meeting
from rollcast.models.pipeline.secure_channel import Listener, WrongKey, connect, link_name
from rollcast.models.pipeline.stage_certificate import client_context

KEY = b"the secret of these tests"
REFUSED = (WrongKey, EOFError, OSError)


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener(("127.0.0.1", 0), KEY, handshake_s=3.0)
    yield listener
    listener.close()


def address(listener: Listener) -> tuple[str, int]:
    return "127.0.0.1", listener.port


def wait_for(condition: Callable[[], object], limit_s: float = 20.0) -> None:
    end_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.01)


class Between:
    """A man in the middle: passes bytes on and keeps them, spoils some, or talks TLS himself."""

    def __init__(self, target: tuple[str, int], spoil: int | None = None) -> None:
        self._target, self._spoil = target, spoil
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.heard = bytearray()
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def address(self) -> tuple[str, int]:
        return self._socket.getsockname()[:2]

    def close(self) -> None:
        self._socket.close()

    def _serve(self) -> None:
        victim, _ = self._socket.accept()
        with victim, socket.create_connection(self._target) as server:
            ways = {victim: server, server: victim}
            while True:
                for each in select.select(list(ways), [], [])[0]:
                    try:
                        data = bytearray(each.recv(65_536))
                    except OSError:
                        return
                    if not data:
                        return
                    if self._spoil is not None and len(self.heard) <= self._spoil:
                        place = self._spoil - len(self.heard)
                        if place < len(data):
                            data[place] ^= 1
                    self.heard += data
                    try:
                        ways[each].sendall(data)
                    except OSError:  # what was spoiled ends the other side
                        return


def test_both_ends_have_a_connection_like_any_other(listener: Listener) -> None:
    with (
        connect(address(listener), KEY, "stage 1") as ours,
        listener.admit("stage 1", 20) as theirs,
    ):
        for size in (0, 1, 100, 5_000_000):
            data = secrets.token_bytes(size)
            sender = threading.Thread(target=ours.send_bytes, args=(data,))
            sender.start()
            assert theirs.recv_bytes() == data
            sender.join()
        theirs.send_bytes(b"back")
        assert ours.recv_bytes() == b"back"
        theirs.send_bytes(b"last word")
        theirs.close()
        assert ours.recv_bytes() == b"last word"
        with pytest.raises(EOFError):
            ours.recv_bytes()


def test_the_end_of_one_side_is_the_end_of_the_other(listener: Listener) -> None:
    ours = connect(address(listener), KEY, "stage 1")
    with listener.admit("stage 1", 20) as theirs:
        ours.close()
        wait_for(lambda: theirs.poll(0.0))
        with pytest.raises(EOFError):
            theirs.recv_bytes()


def test_nothing_that_is_said_can_be_read_on_the_way(listener: Listener) -> None:
    between = Between(address(listener))
    with connect(between.address, KEY, "stage 1") as ours, listener.admit("stage 1", 20) as theirs:
        ours.send_bytes(b"controls of a viewer")
        theirs.send_bytes(b"the frames of a face")
        assert theirs.recv_bytes() == b"controls of a viewer"
        assert ours.recv_bytes() == b"the frames of a face"
    assert len(between.heard) > 500
    for told in (b"stage 1", b"controls", b"frames", KEY):
        assert told not in between.heard
    between.close()


def test_what_is_changed_on_the_way_ends_the_connection(listener: Listener) -> None:
    """In the handshake or behind it; nothing else is ever received in its place."""
    for spoil in (10, 400, 900, 3000, 20_000):
        between = Between(address(listener), spoil)
        ours: Connection | None = None
        try:
            ours = connect(between.address, KEY, "stage 1")
            with listener.admit("stage 1", 1.0) as theirs:
                sent = [secrets.token_bytes(1000) for _ in range(100)]
                sender = threading.Thread(target=_send_all, args=(ours, sent))
                sender.start()
                for each in sent:
                    assert theirs.recv_bytes() == each
                raise AssertionError("it was spoilt and arrived")
        except (*REFUSED, TimeoutError):
            pass
        finally:
            if ours is not None:
                ours.close()
            between.close()
            listener.forget("stage 1")


def _send_all(connection: Connection, pieces: list[bytes]) -> None:
    try:
        for piece in pieces:
            connection.send_bytes(piece)
    except OSError:
        pass


def test_who_does_not_know_the_secret_is_not_let_in(listener: Listener) -> None:
    for guess in (b"", b"guess", KEY + b"\0", KEY[:-1]):
        with pytest.raises(REFUSED):
            connect(address(listener), guess, "agent 1")
    assert listener.take("agent 1") is None
    with pytest.raises(TimeoutError, match="agent 1 did not come within"):
        listener.admit("agent 1", 0.1)


def test_who_has_no_certificate_is_not_let_in(listener: Listener) -> None:
    """TLS of some kind is not enough."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection(address(listener)) as plain:
        plain.settimeout(20)
        with pytest.raises(OSError), context.wrap_socket(plain) as stranger:
            stranger.sendall(b"agent 1\n")
            assert stranger.recv(1) == b"", "no welcome"
            raise OSError("closed")
    assert listener.take("agent 1") is None


def test_a_false_executor_learns_nothing_and_is_left(listener: Listener) -> None:
    """It answers with a certificate of another secret: nothing but a handshake is said to it."""
    false = Listener(("127.0.0.1", 0), b"another secret")
    with pytest.raises(WrongKey, match="differ"):
        connect(address(false), KEY, "agent 1")
    assert false.take("agent 1") is None
    false.close()


@pytest.mark.parametrize(
    "name", ["executor", "agent", "agent 1 2", "stage x", "link a 1-2", "x" * 99]
)
def test_other_names_are_not_let_in(listener: Listener, name: str) -> None:
    with pytest.raises(REFUSED):
        connect(address(listener), KEY, name)
    assert not listener._inside


def test_strangers_keep_nobody_waiting(listener: Listener) -> None:
    """However many are there and silent, and however fast others come."""
    with ExitStack() as stack:
        for _ in range(400):
            stack.enter_context(socket.create_connection(address(listener)))
        begin_s = time.monotonic()
        with connect(address(listener), KEY, "agent 1"), listener.admit("agent 1", 20):
            took_s = time.monotonic() - begin_s
        assert took_s < 2.5, "sooner than the strangers are sent away"


def test_a_stranger_that_drips_is_sent_away_in_the_end(listener: Listener) -> None:
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(600)
    with socket.create_connection(address(listener)) as stranger:
        begin_s = time.monotonic()
        with pytest.raises(OSError):
            for place in range(400):
                stranger.sendall(hello[place : place + 1])
                time.sleep(0.1)
        assert time.monotonic() - begin_s < 20


@pytest.mark.parametrize("said", [b"", b"\0\0\0\x20" + bytes(10), b"GET / HTTP/1.1\r\n\r\n"])
def test_who_talks_otherwise_is_sent_away(listener: Listener, said: bytes) -> None:
    with socket.create_connection(address(listener)) as stranger:
        stranger.settimeout(20)
        stranger.sendall(said)
        stranger.shutdown(socket.SHUT_WR)
        while stranger.recv(100):
            pass


def test_it_listens_at_its_address_and_nowhere_else(listener: Listener) -> None:
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.2", listener.port), timeout=5)
    with pytest.raises(OSError):
        Listener(("203.0.113.7", 0), KEY)


def test_the_newest_of_a_name_counts(listener: Listener) -> None:
    first = connect(address(listener), KEY, "stage 1")
    wait_for(lambda: "stage 1" in listener._inside)
    older = listener._inside["stage 1"]
    second = connect(address(listener), KEY, "stage 1")
    wait_for(lambda: older.closed)
    inside = listener.take("stage 1")
    assert inside is not None and listener.take("stage 1") is None
    inside.send_bytes(b"x")
    assert second.recv_bytes() == b"x"
    for each in (first, second, inside):
        each.close()


def test_two_stages_are_joined_and_others_are_not(listener: Listener) -> None:
    def open_link(life: str, ours: int, theirs: int) -> Connection:
        return connect(address(listener), KEY, link_name(life, ours, theirs))

    with (
        open_link("one", 1, 2) as early,
        open_link("two", 2, 1) as of_another_life,
        open_link("one", 3, 2) as of_another_stage,
        open_link("one", 2, 1) as late,
    ):
        early.send_bytes(b"latents")
        late.send_bytes(b"clean latents")
        assert late.recv_bytes() == b"latents" and early.recv_bytes() == b"clean latents"
        assert not of_another_life.poll(0.2) and not of_another_stage.poll(0.0)
        late.close()
        with pytest.raises(EOFError):
            early.recv_bytes()


def test_a_closed_listener_lets_nobody_in() -> None:
    listener = Listener(("127.0.0.1", 0), KEY)
    place = address(listener)
    with connect(place, KEY, "agent 1") as ours:
        inside = listener.admit("agent 1", 20)
        listener.close()
        with pytest.raises(OSError):
            connect(place, KEY, "agent 2")
        inside.send_bytes(b"still there")
        assert ours.recv_bytes() == b"still there"
        inside.close()


def test_only_new_tls_is_spoken() -> None:
    context = client_context(KEY)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    assert context.verify_mode is ssl.CERT_REQUIRED


def test_the_secret_is_not_shown() -> None:
    assert KEY.decode() not in repr(Meeting(("first", 1), KEY, "life"))
