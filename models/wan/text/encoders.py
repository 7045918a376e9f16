"""Starts the processes of text encoders. Free of torch.

They are forked from one that has imported what they need (`nursery`). It ends when an encoder idles
and there is no other: the memory of what it imported is free then. All of them give way to whatever
generates: their priority is low.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence

from ...pipeline.launchers import end_process
from ...pipeline.nursery import Child, Nursery, can_fork

_PROGRAM = f"{__package__}.encoder_process"
_PRELOAD = (f"{__package__}.encoder",)
_NICENESS = 10
_END_S = 5.0


class EncoderProcess:
    """One process, and our end of the socket over which it is asked."""

    def __init__(self, process: subprocess.Popen[bytes] | Child, link: socket.socket) -> None:
        self._process = process
        self._link = link
        self._lines = link.makefile("rw", encoding="utf-8")

    @property
    def pid(self) -> int:
        """Waits until there is one."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether it is gone."""
        return self._process.poll() is not None

    def ask(self, question: str) -> str:
        """Its answer to a line; waits for it. Empty if the process ends before."""
        try:
            self._lines.write(question + "\n")
            self._lines.flush()
            return self._lines.readline()
        except (BrokenPipeError, ConnectionResetError):
            return ""

    def kill(self) -> None:
        """End it, whatever it does: who waits for an answer has none."""
        self._process.kill()

    def end(self) -> None:
        """Let it end, or kill it if it does not, and wait for that."""
        for end in (self._lines.close, self._link.close):
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                end()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            end_process(self._process)


class Encoders:
    """All encoders' processes of this one."""

    def __init__(self) -> None:
        self._nursery = Nursery(_PROGRAM, _NICENESS)
        self._lock = threading.Lock()
        self._count = 0

    def start(self, arguments: Sequence[str]) -> EncoderProcess:
        """A process with these arguments of `encoder_process`, beside its socket's."""
        ours, theirs = socket.socketpair()
        with self._lock, theirs:
            fd = theirs.fileno()
            process = self._launch([f"--fd={fd}", *arguments], fd)
            self._count += 1
        return EncoderProcess(process, ours)

    def end(self, process: EncoderProcess, *, idle: bool) -> None:
        """End one of them, and if it was the last and idled what they are forked from."""
        process.end()
        with self._lock:
            self._count -= 1
            if idle and not self._count:
                self._nursery.end()

    def _launch(self, arguments: list[str], fd: int) -> subprocess.Popen[bytes] | Child:
        if can_fork():
            return self._nursery.spawn(os.environ, _PRELOAD, arguments, [fd])
        return subprocess.Popen(
            [sys.executable, "-P", "-m", _PROGRAM, str(_NICENESS), *arguments],
            stdin=subprocess.DEVNULL,
            pass_fds=[fd],
            # Ctrl+C in the terminal is for the server; the end of its socket ends this process
            start_new_session=True,
        )


ENCODERS = Encoders()
"""Those of this process."""
