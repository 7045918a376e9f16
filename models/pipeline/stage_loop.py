"""What every stage does: take one message after another, and never miss that it should drop."""

from __future__ import annotations

import contextlib
import queue
import sys
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ..contract import Chunk
from ..yuv_frames import pixels_of
from .arrivals import Arrivals, Arrived
from .frame_arena import FrameArena
from .heap import return_unused
from .heartbeat import Heartbeat
from .leisure_measure import LeisureMeasure
from .messages import (
    Assign,
    Assigned,
    Batch,
    Close,
    Done,
    Drop,
    MadeChunk,
    Measured,
    Open,
    Refused,
    Restore,
    RestoredStream,
    Save,
    SavedStream,
    Settled,
    SnapshotPart,
    Step,
    WorkSpan,
)
from .part_file import SHARED_BYTES, Part, PartFile, Room, can_share, in_message, told

_KEPT = 2
"""Older files of a part that are kept beside the latest: the settled one, and one more."""
MOST_SENT_BYTES = 1 << 31
"""Half of what a control link takes in one message."""


@dataclass(slots=True)
class _Leaving:
    """A chunk that is done but for frames on their way from a GPU."""

    stream: str
    index: int
    chunk: Chunk | None
    spans: tuple[WorkSpan, ...]
    rows: int
    came_late: bool = False

    @property
    def is_there(self) -> bool:
        """Whether nobody would have to wait for it."""
        pictures = None if self.chunk is None else self.chunk.pictures
        there = pictures is None or isinstance(pictures, np.ndarray) or pictures.ready
        self.came_late = self.came_late or not there
        return there


class LinkLost(Exception):
    """Another stage cannot be reached."""


class StageLoop(ABC):
    """The work of one rank: a queue of messages, and chunks on their way out."""

    def __init__(self, heartbeat: Heartbeat, arena: FrameArena | None) -> None:
        self._heartbeat = heartbeat
        self._arena = arena
        self._dropped: dict[str, int] = {}
        self._saved: dict[tuple[str, str], list[tuple[int, PartFile]]] = {}
        """Of each part of a stream the latest that are shared, and behind which chunks."""
        self._settled: dict[str, int] = {}
        self._leaving: deque[_Leaving] = deque()
        self._arrivals = Arrivals(self.receive)
        self._came_s = float("-inf")
        """When frames came last that a GPU had been at work on."""
        self.leisure: LeisureMeasure | None = None
        """What is to be measured while there is no stream."""
        # Bounded by the executor: it admits few more chunks than there are stages.
        self._work: queue.SimpleQueue[object] = queue.SimpleQueue()

    def receive(self, message: object) -> None:
        """Queue a message; called from any thread."""
        if isinstance(message, Drop):
            # at once: it is meant for what already waits in the queue
            self._dropped[message.stream] = message.below
        elif isinstance(message, Settled):
            self._settled[message.stream] = message.index
        else:
            self._work.put(message)

    def run(self) -> None:
        """Work until the process ends."""
        while True:
            message = self._next()
            # all of it: whatever hangs, be it in opening or saving a stream, is noticed
            with self._heartbeat.busy():
                self._do(message)

    def _next(self) -> object:
        """The next message.

        While frames are on their way from a GPU that is either more to be queued there, so that it
        never idles for want of work, or that they have arrived. If neither comes the device hangs,
        at work for the oldest of them.
        """
        if not self._leaving:
            self._heartbeat.work_for()
            return self._next_at_leisure()
        self._heartbeat.work_for(self._leaving[0].stream, self._leaving[0].index)
        with self._heartbeat.busy():
            return self._work.get()

    def _next_at_leisure(self) -> object:
        """The next message, with what can be measured until it comes."""
        while self.leisure is not None:
            if self._has_streams:
                self.leisure.give_up()
                break
            with contextlib.suppress(queue.Empty):
                return self._work.get(timeout=self.leisure.pause_s)
            with self._heartbeat.busy():
                costs = self.leisure.go_on()
            if costs is not None:
                self.leisure = None
                return_unused()
                self._heartbeat.send(Measured(costs))
        return self._work.get()

    def _do(self, message: object) -> None:
        match message:
            case Step():
                self._step(message)
            case Batch():
                self._batch(message)
            case Open():
                self._heartbeat.work_for(message.stream)
                try:
                    self._open(message)
                except ValueError as error:
                    self._heartbeat.send(Refused(message.stream, str(error)))
            case Arrived():
                message.check()
                self._let_go()
            case Close():
                self._close(message.stream)
            case Restore():
                self._heartbeat.work_for(message.stream)
                self._restore(message)
                self._heartbeat.send(RestoredStream(message.stream))
            case Save():
                self._heartbeat.work_for(message.stream)
                self._save_now(message)
                self._heartbeat.send(SavedStream(message.stream))
            case Assign():
                self._dropped.clear()
                self._leaving.clear()
                self._saved.clear()
                self._settled.clear()
                if self._arena is not None and message.frame_slots:
                    self._arena.open(message.frame_slots)
                self._assign(message)
                self._heartbeat.send(Assigned())
            case LinkLost():
                raise message
            case _:
                raise AssertionError(message)

    def _batch(self, message: Batch) -> None:
        """Admit chunks of several streams; one after the other, if nothing better is known."""
        for step in message.steps:
            self._step(step)

    def _is_dropped(self, stream: str, index: int) -> bool:
        return index < self._dropped.get(stream, 0)

    def _tell(
        self,
        stream: str,
        index: int,
        chunk: Chunk | None,
        spans: tuple[WorkSpan, ...],
        rows: int = 1,
    ) -> None:
        """A chunk is done, of a batch of `rows`; None: it is not shown.

        Frames that are still on their way from a GPU are told of when they are there: by `_let_go`,
        in their order.
        """
        self._leaving.append(each := _Leaving(stream, index, chunk, spans, rows))
        if not each.is_there and chunk is not None and not isinstance(chunk.pictures, np.ndarray):
            self._arrivals.expect(chunk.pictures)
        self._let_go()

    def _let_go(self, *, wait: bool = False) -> None:
        """Tell of chunks whose frames are there; with `wait` at least of one, of the oldest."""
        while self._leaving and (wait or self._leaving[0].is_there):
            each, wait = self._leaving.popleft(), False
            with self._heartbeat.busy():
                made = None if each.chunk is None else self._packed(each.chunk)
            spans = each.spans
            if each.came_late and spans:
                spans = _of_device(spans, self._came_s, time.monotonic())
                self._came_s = spans[-1].end_s
            self._heartbeat.send(Done(each.stream, each.index, made, spans, each.rows))

    def _packed(self, chunk: Chunk) -> MadeChunk:
        plain = pixels_of(chunk.pictures)
        slot = None if self._arena is None else self._arena.write(plain)
        return MadeChunk(
            index=chunk.index,
            audio=chunk.audio,
            talking=bool(chunk.talking),
            scene=chunk.scene,
            ignored_words=chunk.ignored_words,
            shape=plain.shape,
            frames=plain if slot is None else None,
            slot=slot,
        )

    def _room(self, stream: str, index: int, name: str) -> Room:
        """Room for a part of the snapshot behind chunk `index`.

        Shared where that can be, and where an older snapshot was that nobody needs any more: memory
        that is there already is ten times as fast as new one. What the executor has is never
        written over, nor what it may get whole yet.
        """

        def room(size: int) -> Part:
            if self._arena is None or not can_share() or size < SHARED_BYTES:
                return in_message(size)
            kept, settled = self._saved.setdefault((stream, name), []), self._settled.get(stream, 0)
            free = [each for each in kept if each[0] < settled and each[1].size == size]
            part = free[0][1] if free else PartFile.create(size)
            # a file that is dropped here lives as long as the executor has it
            others = [each for each in kept if each[1] is not part][-_KEPT:]
            self._saved[stream, name] = [*others, (index, part)]
            return part

        return room

    def _forget_saved(self, stream: str) -> None:
        """Of a stream that is closed."""
        self._settled.pop(stream, None)
        for key in [key for key in self._saved if key[0] == stream]:
            del self._saved[key]

    def _hand_over(
        self,
        stream: str,
        index: int,
        save: Callable[[], Mapping[str, Part]],
        count: int,
        *,
        small: bool = False,
    ) -> None:
        """What `save` makes are parts of the snapshot behind chunk `index`, of `count` in all.

        Where there is no memory for them the snapshot before stays, and where there was none the
        stream begins again with its first chunk.
        """
        # a snapshot waits for the device; frames need not wait for a snapshot
        while self._leaving:
            self._let_go(wait=True)
        began_s = time.monotonic()
        try:
            parts = save()
            sent = sum(len(part) for part in parts.values() if isinstance(part, memoryview))
            if sent > MOST_SENT_BYTES:
                raise OSError(f"{sent} bytes are too many to be sent to another machine")
        except OSError as error:
            print(f"rollcast stage: no snapshot: {error}", file=sys.stderr)  # noqa: T201
            return
        took_s = time.monotonic() - began_s
        self._heartbeat.send(SnapshotPart(stream, index, told(parts), count, took_s, small))

    @property
    @abstractmethod
    def _has_streams(self) -> bool:
        """Whether any stream is open here."""

    @abstractmethod
    def _assign(self, message: Assign) -> None:
        """Take part in another plan; forget every stream."""

    @abstractmethod
    def _open(self, message: Open) -> None:
        """Begin a stream. Raises ValueError for what the model refuses."""

    @abstractmethod
    def _step(self, message: Step) -> None:
        """Admit a chunk."""

    @abstractmethod
    def _close(self, stream: str) -> None:
        """Free a stream."""

    @abstractmethod
    def _save_now(self, message: Save) -> None:
        """Hand over this stage's part of a stream as it is."""

    @abstractmethod
    def _restore(self, message: Restore) -> None:
        """Take over a stream."""


def _of_device(spans: tuple[WorkSpan, ...], before_s: float, came_s: float) -> tuple[WorkSpan, ...]:
    """What a stage's device did for a chunk, of when the host asked for it.

    The device had no time for it `before_s`, when the frames of the chunk before came, and was at
    work until `came_s`.
    """
    *others, last = spans
    own = [
        WorkSpan(each.stage, each.name, max(each.begin_s, before_s), max(each.end_s, before_s))
        if each.stage == last.stage
        else each
        for each in others
    ]
    return (*own, WorkSpan(last.stage, last.name, max(last.begin_s, before_s), came_s))
