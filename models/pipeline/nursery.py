"""A process that has imported what others need and becomes them, by fork: in milliseconds each.

Importing torch takes a stage seconds of a processor. Here that is done once for all stages that
this process starts, and above all for those that take the place of lost ones; the memory of what
was imported is shared. The nursery has one thread and computes nothing, so that forking it is safe.

Free of torch.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

STAGE = f"{__package__}.stage_process"
_PID_BYTES = 32


class Child:
    """A process that a nursery was asked for; it comes as soon as the nursery can."""

    def __init__(self, nursery: Nursery, answer: socket.socket) -> None:
        self._nursery = nursery
        self._answer: socket.socket | None = answer
        self._pid = 0
        self._descriptor: int | None = None
        """Of the process: never that of another one, as its number may be."""

    @property
    def pid(self) -> int:
        """The process; waits until it is there. 0 if the nursery died before."""
        self._meet(None)
        return self._pid

    def poll(self) -> int | None:
        """None until it has ended; how it did is known to its nursery alone."""
        self._meet(0)
        if self._answer is not None:
            return None
        return 0 if self._descriptor is None or _readable(self._descriptor, 0) else None

    def kill(self) -> None:
        """End it, and a nursery that has not brought it forth yet: that one may hang."""
        self._meet(0)
        if self._answer is not None:
            self._nursery.end()
            self._meet(None)
        if self._descriptor is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)

    def wait(self, timeout: float) -> None:
        """Return when it has ended. Raises subprocess.TimeoutExpired after so many seconds."""
        if self._descriptor is None:
            return
        if not _readable(self._descriptor, timeout):
            raise subprocess.TimeoutExpired("child", timeout)
        os.close(self._descriptor)
        self._descriptor = None

    def _meet(self, timeout_s: float | None) -> None:
        if self._answer is None:
            return
        ready, _, _ = select.select([self._answer], [], [], timeout_s)
        if not ready:
            return
        number, descriptors, _, _ = socket.recv_fds(self._answer, _PID_BYTES, 1)
        self._answer.close()
        self._answer = None
        if number:
            self._pid, self._descriptor = int(number), descriptors[0]


def _readable(descriptor: int, timeout_s: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(timeout_s * 1e3))


class Nursery:
    """Starts its process with the first child, or what it imports, and anew if that was lost.

    Its children are processes of `program`, a module with a `run(arguments)`, and have the lower
    priority that `niceness` says.
    """

    def __init__(self, program: str = STAGE, niceness: int = 0) -> None:
        self._program = program
        self._niceness = niceness
        self._lock = threading.Lock()
        atexit.register(self.end)
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._environment: dict[str, str] = {}

    def spawn(
        self,
        environment: Mapping[str, str],
        preload: Sequence[str],
        arguments: Sequence[str],
        descriptors: Sequence[int],
    ) -> Child:
        """A child with these `arguments`, which may end in one of the `descriptors` that it has.

        The nursery imports `preload` first, if it has not. Raises OSError if there can be none.
        """
        wish = {
            "preload": list(preload),
            "arguments": list(arguments),
            "descriptors": list(descriptors),
        }
        with self._lock:
            try:
                return self._ask(environment, wish)
            except OSError:
                # It was lost: a second one that is lost at once is a reason to give up.
                self._start(environment)
                return self._ask(environment, wish)

    def prepare(self, environment: Mapping[str, str], preload: Sequence[str]) -> None:
        """Have the nursery import `preload`, before there is any child that needs it.

        Raises OSError if there can be no nursery.
        """
        with self._lock:
            wish = json.dumps({"preload": list(preload)}).encode()
            socket.send_fds(self._wishes(environment), [wish], [])

    def end(self) -> None:
        """End the process, and with it all of its children."""
        with self._lock:
            self._end()

    def _ask(self, environment: Mapping[str, str], wish: Mapping[str, list[Any]]) -> Child:
        wishes = self._wishes(environment)
        changes = {
            "set": {k: v for k, v in environment.items() if self._environment.get(k) != v},
            "unset": [name for name in self._environment if name not in environment],
        }
        message = json.dumps({**wish, **changes}).encode()
        answer, theirs = socket.socketpair()
        try:
            socket.send_fds(wishes, [message], [theirs.fileno(), *wish["descriptors"]])
        except OSError:
            answer.close()
            raise
        finally:
            theirs.close()
        return Child(self, answer)

    def _wishes(self, environment: Mapping[str, str]) -> socket.socket:
        """Where the process hears what is wished; it is started if it is not there."""
        if self._socket is None:
            self._start(environment)
        assert self._socket is not None
        return self._socket

    def _start(self, environment: Mapping[str, str]) -> None:
        self._end()
        self._environment = dict(environment)
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-m", f"{__package__}.nursery_process"),
                    *(str(theirs.fileno()), self._program, str(self._niceness)),
                ],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=self._environment,
                # Ctrl+C in the terminal is for the server, which then ends its children.
                start_new_session=True,
            )

    def _end(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


NURSERY = Nursery()
"""That of this process's stages."""


def can_fork() -> bool:
    """Whether this system has what a nursery needs (Linux)."""
    return sys.platform == "linux" and hasattr(os, "pidfd_open")


def own_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """For stages, which meet by themselves: with torchrun's settings nobody would listen for
    them."""
    return {k: v for k, v in environment.items() if not k.startswith("TORCHELASTIC_")}


def prepare_stages(preload: Sequence[str], *, nursery: Nursery = NURSERY) -> None:
    """Begin to import what stages on this machine need, in the process they are forked from.

    That takes seconds of a processor, in which this process can do something else.
    """
    if preload and can_fork():
        # who then asks for a stage is told
        with contextlib.suppress(OSError):
            nursery.prepare(own_environment(os.environ), preload)
