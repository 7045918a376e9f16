"""The processes of a pipeline: started, heard, found dead or hung within a second, ended.

A process that dies closes its connection, one that is stopped misses its heartbeat, one that
hangs in a piece of work says so in it. Collective time-outs are not involved.
"""

from __future__ import annotations

import shutil
import socket
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from .launchers import Launcher
from .messages import (
    Beat,
    Broken,
    FromStage,
    ModelSpec,
    Ready,
    Setup,
    ToStage,
)

SILENT_S = 0.7
"""A stage that was not heard for so long, or is late with one piece of work by so long, is lost."""
START_SILENT_S = 30.0
"""The same while it starts: importing and reading weights may keep its heart from beating."""
_DEAF_S = 0.1
_FORGET = 0.95


@dataclass(slots=True)
class _Member:
    launcher: Launcher
    connection: Connection
    heard_s: float
    ready: bool = False
    busy_s: float = 0.0
    reason: str | None = None
    """Why it is lost, once it is."""


@dataclass(slots=True)
class StagePool:
    """One life of the stage processes at `launchers`; a restart makes a new one.

    `host` is the name of this machine for the others, None: there are none.
    """

    launchers: Sequence[Launcher]
    model: ModelSpec
    host: str | None = None
    longest_part_s: float = 0.0
    """The longest piece of work that is normal, once it is known; told by `worked`."""
    _listened_s: float = 0.0
    _members: list[_Member] = field(default_factory=list)
    _folder: str = ""

    def start(self) -> None:
        """Start the processes; each sends `Ready` when it is. Raises OSError if one never comes."""
        self._folder = tempfile.mkdtemp(prefix="rollcast-")
        rendezvous = (Path(self._folder) / "rendezvous").as_uri()
        if self.host is not None:
            rendezvous = f"tcp://{self.host}:{_free_port()}"
        for launcher in self.launchers:
            launcher.launch()
        self._members = [
            _Member(launcher, launcher.connect(), time.monotonic()) for launcher in self.launchers
        ]
        self._listened_s = time.monotonic()
        size = len(self.launchers)
        for rank in range(size):
            self.send(rank, Setup(rank, size, rendezvous, self.model))

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes by rank; 0 for one on another machine."""
        return tuple(launcher.pid for launcher in self.launchers)

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
        begin_s = time.monotonic()
        readable = wait([*open_ones, *others], timeout_s)
        overslept_s = max(0.0, time.monotonic() - begin_s - timeout_s)
        self._excuse(begin_s - self._listened_s + overslept_s)
        for each in readable:
            if each in open_ones:
                message = self._hear(self._members[open_ones[each]])
                if message is not None:
                    heard.append((open_ones[each], message))
        return heard

    def worked(self, longest_s: float) -> None:
        """The longest piece of work on a chunk: on a busy machine it takes longer than at first."""
        self.longest_part_s = max(longest_s, _FORGET * self.longest_part_s)

    def lost(self) -> str | None:
        """Which stage is dead or hung and how that is known; None while all is well.

        Once lost, a stage stays so: it may be heard again, but its streams were told already.
        """
        now_s = time.monotonic()
        for rank, member in enumerate(self._members):
            member.reason = member.reason or self._silence(member, now_s)
            if member.reason is not None:
                return f"stage {rank} {member.reason}"
        return None

    def stop(self) -> None:
        """End all processes, whatever they do, and wait for that."""
        for member in self._members:
            member.connection.close()
        for launcher in self.launchers:
            launcher.end()
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

    def _excuse(self, deaf_s: float) -> None:
        """Nobody listened for so long, or the whole machine stood still: no stage is to blame."""
        if deaf_s > _DEAF_S:
            for member in self._members:
                member.heard_s += deaf_s
        self._listened_s = time.monotonic()

    def _silence(self, member: _Member, now_s: float) -> str | None:
        silent_s = now_s - member.heard_s
        if silent_s > (SILENT_S if member.ready else START_SILENT_S):
            return f"has been silent for {silent_s:.1f} s"
        if member.busy_s > SILENT_S + self.longest_part_s:
            return f"hangs in one piece of work since {member.busy_s:.1f} s"
        return None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]
