"""Where a stage's process runs: on this machine, or on another one under an agent.

A place starts a process that connects back, and can end it whatever it does.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import sys
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Protocol

from .control_link import WrongKey, authenticate

IO_S = 0.8
"""In the middle of a message no side waits longer for a stopped one."""
START = b"start"
STOP = b"stop"
_STOP_S = 5.0
_CONNECT_S = 60.0
_EXECUTOR = "executor"


class Launcher(Protocol):
    """Room for one stage process at a time."""

    def launch(self, arena_fd: int | None) -> None:
        """Begin to start a process; on this machine it shares the frame arena."""
        ...

    def connect(self) -> Connection:
        """The connection to the process that was launched. Raises OSError if none comes."""
        ...

    def end(self) -> None:
        """End the process and wait for it."""
        ...

    @property
    def pid(self) -> int:
        """The process on its machine; 0 if it is not known."""
        ...


class LocalLauncher:
    """A process on this machine, over a socket pair; `shared` with stages on other machines."""

    def __init__(self, *, shared: bool = False) -> None:
        self._shared = shared
        self._process: subprocess.Popen[bytes] | None = None
        self._ours: socket.socket | None = None

    def launch(self, arena_fd: int | None) -> None:
        """Start the process."""
        self._ours, theirs = socket.socketpair()
        environment = dict(os.environ)
        if sys.platform == "linux" and not self._shared:
            environment.setdefault("GLOO_SOCKET_IFNAME", "lo")
        arguments, inherited = ["--fd", str(theirs.fileno())], [theirs.fileno()]
        if arena_fd is not None:
            arguments += ["--arena-fd", str(arena_fd)]
            inherited.append(arena_fd)
        self._process = start_stage(arguments, environment, inherited)
        theirs.close()

    def connect(self) -> Connection:
        """The connection to it."""
        assert self._ours is not None, "launch comes first"
        ours, self._ours = self._ours, None
        return as_connection(ours)

    def end(self) -> None:
        """Kill the process and wait for it."""
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
        self.agent.send_bytes(START)

    def connect(self) -> Connection:
        """Wait for the process to come to the listener."""
        return self.listener.admit(f"stage {self.rank}")

    def end(self) -> None:
        """Tell the agent."""
        with contextlib.suppress(OSError):
            self.agent.send_bytes(STOP)

    @property
    def pid(self) -> int:
        """Its number on another machine says nothing here."""
        return 0


class Listener:
    """A listening socket through which agents and stages come in, if they know the key."""

    def __init__(self, address: tuple[str, int], key: bytes) -> None:
        self._socket = socket.create_server(address)
        self._socket.settimeout(_CONNECT_S)
        self._key = key
        self._inside: dict[str, Connection] = {}

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._socket.getsockname()[1]

    def admit(self, name: str) -> Connection:
        """The connection of who comes under this name. Raises OSError when nobody does in time."""
        while name not in self._inside:
            visitor, _ = self._socket.accept()
            connection = as_connection(visitor)
            try:
                self._inside[authenticate(connection, self._key, _EXECUTOR)] = connection
            except (WrongKey, EOFError, OSError):  # a stranger
                connection.close()
        return self._inside.pop(name)

    def close(self) -> None:
        """Let nobody else in."""
        self._socket.close()


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
    # The stages meet by themselves: with torchrun's settings nobody would listen for them.
    own = {k: v for k, v in environment.items() if not k.startswith("TORCHELASTIC_")}
    return subprocess.Popen(
        [sys.executable, "-P", "-m", f"{__package__}.stage_process", *arguments],
        stdin=subprocess.DEVNULL,
        pass_fds=descriptors,
        env=own,
        # Ctrl+C in the terminal is for the server, which then ends its stages.
        start_new_session=True,
    )


def end_process(process: subprocess.Popen[bytes]) -> None:
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
