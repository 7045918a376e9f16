"""The processes of a pipeline: started, heard, found dead or hung within a second, ended.

A process that dies closes its connection, one that is stopped misses its heartbeat, one that
hangs in a piece of work says so in it. Collective time-outs are not involved.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from .messages import Beat, Broken, FromStage, ModelSpec, Ready, Setup, ToStage

SILENT_S = 0.8
"""A stage that was not heard for so long, or is at one piece of work for so long, is lost."""
START_S = 120.0
_IO_S = 0.8
_BUSY_FACTOR = 8.0
_STOP_S = 5.0


@dataclass(slots=True)
class _Member:
    process: subprocess.Popen[bytes]
    connection: Connection
    heard_s: float
    ready: bool = False
    busy_s: float = 0.0
    reason: str | None = None
    """Why it is lost, once it is."""


@dataclass(slots=True)
class Crew:
    """One life of `size` stage processes on this machine; a restart makes a new one."""

    size: int
    model: ModelSpec
    backend: str = "gloo"
    longest_part_s: float = 0.0
    """The longest piece of work that is normal, once it is known."""
    _members: list[_Member] = field(default_factory=list)
    _folder: str = ""

    def start(self) -> None:
        """Start the processes; each sends `Ready` when it is."""
        self._folder = tempfile.mkdtemp(prefix="rollcast-")
        rendezvous = (Path(self._folder) / "rendezvous").as_uri()
        self._members = [_start_process() for _ in range(self.size)]
        for rank in range(self.size):
            self.send(rank, Setup(rank, self.size, rendezvous, self.model, self.backend))

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes by rank."""
        return tuple(member.process.pid for member in self._members)

    def send(self, rank: int, message: ToStage) -> None:
        """Send to a stage; if that cannot be done, the stage is lost."""
        member = self._members[rank]
        if member.reason is None:
            try:
                member.connection.send(message)
            except OSError as error:
                member.reason = f"takes no messages ({error})"

    def receive(self, timeout_s: float, others: Sequence[Any] = ()) -> list[tuple[int, FromStage]]:
        """What the stages say within `timeout_s`; at once when any of `others` is readable."""
        open_ones: dict[Any, int] = {
            member.connection: rank
            for rank, member in enumerate(self._members)
            if member.reason is None
        }
        heard: list[tuple[int, FromStage]] = []
        for each in wait([*open_ones, *others], timeout_s):
            if each in open_ones:
                message = self._hear(self._members[open_ones[each]])
                if message is not None:
                    heard.append((open_ones[each], message))
        return heard

    def lost(self) -> str | None:
        """Which stage is dead or hung and how that is known; None while all is well."""
        now_s = time.monotonic()
        for rank, member in enumerate(self._members):
            reason = member.reason or self._silence(member, now_s)
            if reason is not None:
                return f"stage {rank} {reason}"
        return None

    def stop(self) -> None:
        """End all processes, whatever they do, and wait for that."""
        for member in self._members:
            member.process.kill()
            member.connection.close()
        for member in self._members:
            with contextlib.suppress(subprocess.TimeoutExpired):
                member.process.wait(_STOP_S)
        self._members = []
        shutil.rmtree(self._folder, ignore_errors=True)

    def _hear(self, member: _Member) -> FromStage | None:
        try:
            message: FromStage = member.connection.recv()
        except (EOFError, OSError):
            member.reason = "died"
            return None
        member.heard_s = time.monotonic()
        match message:
            case Ready():
                member.ready = True
            case Beat():
                member.busy_s = message.busy_s
            case Broken():
                member.reason = f"failed: {message.reason}"
            case _:
                pass
        return message

    def _silence(self, member: _Member, now_s: float) -> str | None:
        silent_s = now_s - member.heard_s
        if not member.ready:
            return f"did not start in {START_S:.0f} s" if silent_s > START_S else None
        if silent_s > SILENT_S:
            return f"has been silent for {silent_s:.1f} s"
        if member.busy_s > max(SILENT_S, _BUSY_FACTOR * self.longest_part_s):
            return f"hangs in one piece of work since {member.busy_s:.1f} s"
        return None


def _start_process() -> _Member:
    ours, theirs = socket.socketpair()
    # A stopped process must not stop us: in the middle of a message neither side waits for ever.
    limit = struct.pack("ll", int(_IO_S), int(_IO_S % 1 * 1e6))
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        ours.setsockopt(socket.SOL_SOCKET, option, limit)
    environment = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    if sys.platform == "linux":
        environment.setdefault("GLOO_SOCKET_IFNAME", "lo")
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", f"{__package__}.stage", str(theirs.fileno())],
        stdin=subprocess.DEVNULL,
        pass_fds=[theirs.fileno()],
        env=environment,
        # Ctrl+C in the terminal is for the server, which then ends its stages.
        start_new_session=True,
    )
    theirs.close()
    return _Member(process, Connection(ours.detach()), time.monotonic())
