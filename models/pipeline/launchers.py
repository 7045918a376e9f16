"""Where a stage's process runs: on this machine, or on another one under an agent.

A launcher starts a process that connects back, and can end it whatever it does.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Protocol

from .nursery import NURSERY, Child, Nursery, can_fork, own_environment
from .patient_connection import as_connection

if TYPE_CHECKING:
    # stages on one machine start without it
    from .secure_channel import Listener

KEY_VARIABLE = "ROLLCAST_STAGE_KEY"
START = b"start"
STOP = b"stop"
_STOP_S = 5.0


@dataclass(frozen=True, slots=True)
class Inheritance:
    """What a stage on this machine shares with others, as file descriptors.

    `arena` is that of the frames, `store` where GPUs find each other, `links` the sockets to the
    other stages by rank.
    """

    arena: int | None = None
    store: int | None = None
    links: Mapping[int, int] = field(default_factory=dict)

    @property
    def descriptors(self) -> list[int]:
        """All of them."""
        return [fd for fd in (self.arena, self.store) if fd is not None] + list(self.links.values())

    @property
    def arguments(self) -> list[str]:
        """For the command line of `stage_process`."""
        named = [("--arena-fd", self.arena), ("--store-fd", self.store)]
        given = [f"{name}={fd}" for name, fd in named if fd is not None]
        return given + [f"--link={rank}:{fd}" for rank, fd in self.links.items()]


class Launcher(Protocol):
    """Room for one stage process at a time."""

    def launch(self, shared: Inheritance) -> None:
        """Begin to start a process; on this machine it shares things with others.

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
    """A process on this machine, over a socket pair.

    Where processes can be forked it comes from `nursery` and has imported `preload` by then.
    """

    def __init__(self, *, preload: Sequence[str] = (), nursery: Nursery = NURSERY) -> None:
        self._nursery = nursery
        self._preload = preload
        self._process: subprocess.Popen[bytes] | Child | None = None
        self._ours: socket.socket | None = None

    def launch(self, shared: Inheritance) -> None:
        """Start the process."""
        self._ours, theirs = socket.socketpair()
        fd = theirs.fileno()
        arguments, inherited = [f"--fd={fd}", *shared.arguments], [fd, *shared.descriptors]
        with theirs:
            if can_fork():
                self._process = self._nursery.spawn(
                    own_environment(os.environ), self._preload, arguments, inherited
                )
            else:
                self._process = start_stage(arguments, dict(os.environ), inherited)

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

    def launch(self, shared: Inheritance) -> None:
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


def start_stage(
    arguments: list[str], environment: dict[str, str], descriptors: list[int]
) -> subprocess.Popen[bytes]:
    """Start a stage's process."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", f"{__package__}.stage_process", *arguments],
        stdin=subprocess.DEVNULL,
        pass_fds=descriptors,
        env=own_environment(environment),
        # Ctrl+C in the terminal is for the server, which then ends its stages.
        start_new_session=True,
    )


def end_process(process: subprocess.Popen[bytes] | Child) -> None:
    """Kill a process and wait for it."""
    process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_S)
