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

from .messages import Beat, Broken, FromStage, ModelSpec, Ready, Setup, ToStage
from .places import Place

SILENT_S = 0.7
"""A stage that was not heard for so long, or is at one piece of work for so long, is lost."""
START_S = 120.0
_BUSY_FACTOR = 8.0


@dataclass(slots=True)
class _Member:
    place: Place
    connection: Connection
    heard_s: float
    ready: bool = False
    busy_s: float = 0.0
    reason: str | None = None
    """Why it is lost, once it is."""


@dataclass(slots=True)
class Crew:
    """One life of the stage processes at `places`; a restart makes a new one.

    `host` is the name of this machine for the others, None: there are none.
    """

    places: Sequence[Place]
    model: ModelSpec
    backend: str = "gloo"
    host: str | None = None
    longest_part_s: float = 0.0
    """The longest piece of work that is normal, once it is known."""
    _members: list[_Member] = field(default_factory=list)
    _folder: str = ""

    def start(self) -> None:
        """Start the processes; each sends `Ready` when it is. Raises OSError if one never comes."""
        self._folder = tempfile.mkdtemp(prefix="rollcast-")
        rendezvous = (Path(self._folder) / "rendezvous").as_uri()
        if self.host is not None:
            rendezvous = f"tcp://{self.host}:{_free_port()}"
        for place in self.places:
            place.launch()
        self._members = [_Member(place, place.connect(), time.monotonic()) for place in self.places]
        size = len(self.places)
        for rank in range(size):
            self.send(rank, Setup(rank, size, rendezvous, self.model, self.backend))

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes by rank; 0 for one on another machine."""
        return tuple(place.pid for place in self.places)

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
            member.connection.close()
        for place in self.places:
            place.end()
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


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]
