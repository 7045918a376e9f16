"""Where a stage's process runs: on this machine, or on another one under an agent.

A launcher starts a process that connects back, and can end it whatever it does.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Protocol

from .control_link import WrongKey, authenticate
from .nursery import NURSERY, Child, Nursery, can_fork

IO_S = 0.8
"""In the middle of a message no side waits longer for a stopped one."""
START = b"start"
STOP = b"stop"
_STOP_S = 5.0
_CONNECT_S = 60.0
_HANDSHAKE_S = 5.0
_VISITORS = 64
_EXECUTOR = "executor"


class Launcher(Protocol):
    """Room for one stage process at a time."""

    def launch(self, arena_fd: int | None) -> None:
        """Begin to start a process; on this machine it shares the frame arena.

        Raises OSError where that cannot be.
        """
        ...

    def connect(self) -> Connection | None:
        """The connection to the process that was launched; None: it has not come yet."""
        ...

    def end(self) -> None:
        """End the process and wait for it."""
        ...

    @property
    def pid(self) -> int:
        """The process on its machine; 0 if it is not known."""
        ...


class LocalLauncher:
    """A process on this machine, over a socket pair; `shared` with stages on other machines.

    Where processes can be forked it comes from `nursery` and has imported `preload` by then.
    """

    def __init__(
        self,
        *,
        shared: bool = False,
        preload: Sequence[str] = (),
        nursery: Nursery = NURSERY,
    ) -> None:
        self._shared = shared
        self._nursery = nursery
        self._preload = preload
        self._process: subprocess.Popen[bytes] | Child | None = None
        self._ours: socket.socket | None = None

    def launch(self, arena_fd: int | None) -> None:
        """Start the process."""
        self._ours, theirs = socket.socketpair()
        environment = dict(os.environ)
        if sys.platform == "linux" and not self._shared:
            environment.setdefault("GLOO_SOCKET_IFNAME", "lo")
        with theirs:
            inherited = [theirs.fileno(), *(() if arena_fd is None else (arena_fd,))]
            if can_fork():
                self._process = self._nursery.spawn(_own(environment), self._preload, inherited)
                return
            names = ("--fd", "--arena-fd")
            arguments = [f"{name}={fd}" for name, fd in zip(names, inherited, strict=False)]
            self._process = start_stage(arguments, environment, inherited)

    def connect(self) -> Connection | None:
        """The connection to it, which is there at once."""
        ours, self._ours = self._ours, None
        return None if ours is None else as_connection(ours)

    def end(self) -> None:
        """Kill the process and wait for it."""
        if self._ours is not None:
            self._ours.close()
            self._ours = None
        if self._process is not None:
            end_process(self._process)

    @property
    def pid(self) -> int:
        """The process."""
        return 0 if self._process is None else self._process.pid


@dataclass(slots=True)
class RemoteLauncher:
    """A process on another machine, started by the agent at the other end of `agent`.

    Both connect to `listener`, where the executor listens.
    """

    agent: Connection
    listener: Listener
    rank: int

    def launch(self, arena_fd: int | None) -> None:
        """Tell the agent; it ends an older process first."""
        self.listener.forget(self._name)
        # an agent that was lost may have been started again
        newer = self.listener.take(f"agent {self.rank}")
        if newer is not None:
            self.agent.close()
            self.agent = newer
        self.agent.send_bytes(START)

    def connect(self) -> Connection | None:
        """The process that came to the listener, if it has."""
        return self.listener.take(self._name)

    def end(self) -> None:
        """Tell the agent."""
        with contextlib.suppress(OSError):
            self.agent.send_bytes(STOP)

    @property
    def _name(self) -> str:
        return f"stage {self.rank}"

    @property
    def pid(self) -> int:
        """Its number on another machine says nothing here."""
        return 0


class Listener:
    """A listening socket through which agents and stages come in, if they know the key.

    A thread of its own lets them in, each visitor beside the others: one that never answers keeps
    nobody waiting, and is sent away after `handshake_s`.
    """

    def __init__(
        self, address: tuple[str, int], key: bytes, *, handshake_s: float = _HANDSHAKE_S
    ) -> None:
        self._handshake_s = handshake_s
        self._socket = socket.create_server(address)
        self._key = key
        self._inside: dict[str, Connection] = {}
        self._changed = threading.Condition()
        self._places = threading.BoundedSemaphore(_VISITORS)
        threading.Thread(target=self._accept, name="listener", daemon=True).start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._socket.getsockname()[1]

    def admit(self, name: str, timeout_s: float = _CONNECT_S) -> Connection:
        """The connection of who comes under this name. Raises TimeoutError when nobody does."""
        with self._changed:
            if not self._changed.wait_for(lambda: name in self._inside, timeout_s):
                raise TimeoutError(f"{name} did not come within {timeout_s:g} s")
            return self._inside.pop(name)

    def take(self, name: str) -> Connection | None:
        """The connection of who came under this name, if anybody did."""
        with self._changed:
            return self._inside.pop(name, None)

    def forget(self, name: str) -> None:
        """Close the connection of who came under this name and was not taken."""
        connection = self.take(name)
        if connection is not None:
            connection.close()

    def close(self) -> None:
        """Let nobody else in."""
        # or the thread would go on waiting in it
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for name in list(self._inside):
            self.forget(name)

    def _accept(self) -> None:
        while True:
            self._places.acquire()
            try:
                visitor, _ = self._socket.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._welcome, args=(visitor,), daemon=True).start()

    def _welcome(self, visitor: socket.socket) -> None:
        """Let a visitor in that proves in time that it knows the key."""
        # A visitor that sends byte after byte would never be late for a single one of them.
        sent_away = threading.Timer(self._handshake_s, _shut, (visitor,))
        sent_away.daemon = True
        sent_away.start()
        connection = as_connection(visitor.dup())
        try:
            name = authenticate(connection, self._key, _EXECUTOR)
        except (WrongKey, EOFError, OSError):
            connection.close()
        else:
            self._let_in(name, connection)
        finally:
            sent_away.cancel()
            visitor.close()
            self._places.release()

    def _let_in(self, name: str, connection: Connection) -> None:
        with self._changed:
            older = self._inside.pop(name, None)
            self._inside[name] = connection
            self._changed.notify_all()
        if older is not None:
            older.close()


def _shut(visitor: socket.socket) -> None:
    with contextlib.suppress(OSError):
        visitor.shutdown(socket.SHUT_RDWR)


def connect(address: tuple[str, int], key: bytes, name: str) -> Connection:
    """Connect to a `Listener` under a name.

    Raises OSError, or WrongKey.
    """
    visitor = socket.create_connection(address, timeout=_CONNECT_S)
    visitor.settimeout(None)
    connection = Connection(visitor.detach())
    authenticate(connection, key, name)
    return connection


def start_stage(
    arguments: list[str], environment: dict[str, str], descriptors: list[int]
) -> subprocess.Popen[bytes]:
    """Start a stage's process."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", f"{__package__}.stage_process", *arguments],
        stdin=subprocess.DEVNULL,
        pass_fds=descriptors,
        env=_own(environment),
        # Ctrl+C in the terminal is for the server, which then ends its stages.
        start_new_session=True,
    )


def _own(environment: Mapping[str, str]) -> dict[str, str]:
    """The stages meet by themselves: with torchrun's settings nobody would listen for them."""
    return {k: v for k, v in environment.items() if not k.startswith("TORCHELASTIC_")}


def end_process(process: subprocess.Popen[bytes] | Child) -> None:
    """Kill a process and wait for it."""
    process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_S)


def as_connection(ours: socket.socket) -> Connection:
    """A connection that a stopped process at the other end cannot hold up."""
    limit = struct.pack("ll", int(IO_S), int(IO_S % 1 * 1e6))
    ours.settimeout(None)
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        ours.setsockopt(socket.SOL_SOCKET, option, limit)
    return Connection(ours.detach())
