"""The processes of a pipeline: started, heard, found dead or hung, ended.

A process that dies closes its connection, one that is stopped misses its heartbeat, one that
hangs in a piece of work says so in it. Collective time-outs are not involved.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any

from .control_link import BadMessage, ControlLink, link_to_stage
from .events import Cause
from .frame_arena import FrameArena
from .launchers import Inheritance, Launcher
from .messages import (
    Beat,
    Broken,
    FromStage,
    Meeting,
    ModelSpec,
    Ready,
    Setup,
    SnapshotPart,
    ToStage,
    Working,
)
from .part_file import Part, PartPlace, opened
from .stage_plan import Costs

if TYPE_CHECKING:
    from .secure_channel import Listener

_DEAF_S = 0.1
# how soon one is seen who comes from another machine
_ARRIVALS_S = 0.05
_FORGET = 0.95
# a start on a machine that is busy, compared with an earlier one
_SLOWER = 5.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a stage may be silent before it is given up.

    `silent_s` without a heartbeat, `start_silent_s` while it starts: importing and reading weights
    may keep its heart from beating. `late_s` beyond the longest piece of work seen so far: on a
    machine that is busy with other things work takes several times as long, and giving up a stage
    in vain costs more than waiting for one that hangs. A start may take `start_s`, however its
    heart beats; once one has succeeded, `restart_s` or several times as long as that one took.
    """

    silent_s: float = 0.7
    start_silent_s: float = 30.0
    late_s: float = 5.0
    start_s: float = 600.0
    restart_s: float = 60.0

    def start_limit_s(self, last_s: float | None) -> float:
        """How long a start may take after one that took `last_s`; None: there was none."""
        if last_s is None:
            return self.start_s
        return min(self.start_s, max(self.restart_s, _SLOWER * last_s))


@dataclass(slots=True)
class Loss:
    """Why a stage is given up; `broken` is what it said itself, if anything.

    `stream` and chunk `index` are what it was at work for, as far as that is known.
    """

    cause: Cause
    detail: str
    broken: Broken | None = None
    stream: str | None = None
    index: int | None = None


@dataclass(slots=True)
class _Member:
    """`link` is None until the process has come."""

    launcher: Launcher
    heard_s: float
    setup: Setup
    link: ControlLink[FromStage, ToStage] | None = None
    working: Working = field(default_factory=Working)
    ready: bool = False
    busy_s: float = 0.0
    loss: Loss | None = None


@dataclass(slots=True)
class StagePool:
    """One life of the stage processes at `launchers`; a restart makes a new one.

    `listener` is where those on other machines come, None: there are none.
    """

    launchers: Sequence[Launcher]
    model: ModelSpec
    listener: Listener | None = None
    patience: Patience = field(default_factory=Patience)
    last_start_s: float | None = None
    """How long the stages took to start the last time; None: they never have."""
    longest_part_s: float = 0.0
    """The longest piece of work that is normal, once it is known; told by `worked`."""
    arena: FrameArena | None = None
    _listened_s: float = 0.0
    _launched_s: float = 0.0
    _members: list[_Member] = field(default_factory=list)

    def start(self, costs: Costs | None, *, soon: bool = False) -> None:
        """Start the processes; each sends `Ready` when it is. Raises OSError if that cannot be.

        With `costs` they need not measure the model, with `soon` they may do so later.
        """
        size, meeting = len(self.launchers), None
        if self.listener is None:
            self._launch_here()
        else:
            address = self.listener.host, self.listener.port
            meeting = Meeting(address, self.listener.key, secrets.token_hex(8))
            for launcher in self.launchers:
                launcher.launch(Inheritance())
        self._listened_s = self._launched_s = time.monotonic()
        self._members = [
            _Member(launcher, self._listened_s, Setup(rank, size, self.model, meeting, costs, soon))
            for rank, launcher in enumerate(self.launchers)
        ]
        self._welcome()

    def _launch_here(self) -> None:
        """With all that they share: memory for frames, and a socket pair for each two of them."""
        self.arena = FrameArena.create()
        ends: list[socket.socket] = []
        links: list[dict[int, int]] = [{} for _ in self.launchers]
        store = None
        try:
            for one, other in combinations(range(len(links)), 2):
                pair = socket.socketpair()
                ends += pair
                links[one][other], links[other][one] = pair[0].fileno(), pair[1].fileno()
            if len(links) > 1 and hasattr(os, "memfd_create"):
                store = os.memfd_create("rollcast-store")
            for launcher, own in zip(self.launchers, links, strict=True):
                launcher.launch(Inheritance(self.arena.fd, store, own))
        finally:
            # each end is with its stage alone, so that it closes when that one dies
            for end in ends:
                end.close()
            if store is not None:
                os.close(store)

    def parts(self, rank: int, message: SnapshotPart) -> dict[str, Part] | None:
        """The parts that a stage tells of; None if they are not where it says."""
        shared = [part for part in message.parts.values() if isinstance(part, PartPlace)]
        # its own, and never what a stage on another machine names here
        if shared and self.arena is None:
            return None
        if any(part.pid != self.launchers[rank].pid for part in shared):
            return None
        try:
            return opened(message.parts)
        except (OSError, ValueError):
            return None

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes by rank; 0 for one on another machine."""
        return tuple(launcher.pid for launcher in self.launchers)

    def send(self, rank: int, message: ToStage) -> None:
        """Send to a stage; if that cannot be done, the stage is lost."""
        member = self._members[rank]
        if member.loss is None and member.link is not None:
            try:
                member.link.send(message)
            except BlockingIOError:
                self.give_up(rank, Loss("hung", f"stage {rank} takes no messages"))
            except OSError as error:
                self.give_up(rank, Loss("died", f"stage {rank} died ({error})"))

    def give_up(self, rank: int, loss: Loss) -> None:
        """A stage is lost, whatever it may say from here on."""
        member = self._members[rank]
        if member.loss is None:
            if loss.broken is None:
                loss.stream, loss.index = member.working.stream, member.working.index
            member.loss = loss

    def receive(self, timeout_s: float, others: Sequence[Any] = ()) -> list[tuple[int, FromStage]]:
        """What the stages say within `timeout_s`; at once when any of `others` is readable."""
        if not self._welcome():
            timeout_s = min(timeout_s, _ARRIVALS_S)
        open_ones: dict[Any, int] = {
            member.link.connection: rank
            for rank, member in enumerate(self._members)
            if member.loss is None and member.link is not None
        }
        heard: list[tuple[int, FromStage]] = []
        begin_s = time.monotonic()
        readable = wait([*open_ones, *others], timeout_s)
        overslept_s = max(0.0, time.monotonic() - begin_s - timeout_s)
        self._excuse(begin_s - self._listened_s + overslept_s)
        for each in readable:
            if each in open_ones:
                message = self._hear(open_ones[each])
                if message is not None:
                    heard.append((open_ones[each], message))
        return heard

    def worked(self, longest_s: float) -> None:
        """The longest piece of work on a chunk: on a busy machine it takes longer than at first."""
        self.longest_part_s = max(longest_s, _FORGET * self.longest_part_s)

    def lost(self) -> Loss | None:
        """Which stage is dead or hung and how that is known; None while all is well.

        Once lost, a stage stays so: it may be heard again, but its streams were told already.
        """
        now_s = time.monotonic()
        for rank, member in enumerate(self._members):
            silence = self._silence(rank, member, now_s)
            if silence is not None:
                self.give_up(rank, silence)
            if member.loss is not None:
                return member.loss
        return None

    def stop(self) -> None:
        """End all processes, whatever they do, and wait for that."""
        for member in self._members:
            if member.link is not None:
                member.link.close()
        for launcher in self.launchers:
            launcher.end()
        self._members = []
        if self.arena is not None:
            self.arena.close()
            self.arena = None

    def _welcome(self) -> bool:
        """Set up the processes that have come since; whether all have."""
        for rank, member in enumerate(self._members):
            if member.link is None and (connection := member.launcher.connect()) is not None:
                member.link = link_to_stage(connection)
                self.send(rank, member.setup)
        return all(member.link is not None for member in self._members)

    def _hear(self, rank: int) -> FromStage | None:
        member = self._members[rank]
        assert member.link is not None, "it can be read"
        try:
            message = member.link.receive()
        except BlockingIOError:
            self.give_up(rank, Loss("hung", f"stage {rank} stopped in the middle of a message"))
            return None
        except (EOFError, OSError):
            self.give_up(rank, Loss("died", f"stage {rank} died"))
            return None
        except BadMessage as error:
            self.give_up(rank, Loss("failed", f"stage {rank} sent nonsense: {error}"))
            return None
        member.heard_s = time.monotonic()
        match message:
            case Ready():
                member.ready = True
            case Beat():
                member.busy_s = message.busy_s
            case Working():
                member.working = message
            case Broken():
                detail = f"stage {rank} failed: {message.reason}"
                loss = Loss("failed", detail, message, message.stream, message.index)
                self.give_up(rank, loss)
            case _:
                pass
        return message

    def _excuse(self, deaf_s: float) -> None:
        """Nobody listened for so long, or the whole machine stood still: no stage is to blame."""
        if deaf_s > _DEAF_S:
            self._launched_s += deaf_s
            for member in self._members:
                member.heard_s += deaf_s
        self._listened_s = time.monotonic()

    def _silence(self, rank: int, member: _Member, now_s: float) -> Loss | None:
        if member.loss is not None:
            return None
        silent_s = now_s - member.heard_s
        limit_s = self.patience.silent_s if member.ready else self.patience.start_silent_s
        if silent_s > limit_s and member.link is None:
            return Loss("hung", f"stage {rank} did not come within {limit_s:g} s")
        if silent_s > limit_s:
            return Loss("hung", f"stage {rank} has been silent for {silent_s:.1f} s")
        starts_s = now_s - self._launched_s
        if not member.ready and starts_s > self.patience.start_limit_s(self.last_start_s):
            return Loss("hung", f"stage {rank} is not ready {starts_s:.1f} s after its start")
        if member.busy_s > self.patience.late_s + self.longest_part_s:
            return Loss("hung", f"stage {rank} hangs in a piece of work for {member.busy_s:.1f} s")
        return None
