"""What executors in the caller's own process have in common: streams by name, events in a list."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from multiprocessing.connection import wait
from typing import Any, Generic, TypeVar

from ..contract import Chunk, Controls, Model, ModelInfo, StreamRequest
from .events import Dropped, Event, Finished, Lost
from .measure import measure_whole
from .past import Past
from .stage_plan import Costs

M = TypeVar("M", bound=Model[Any])
S = TypeVar("S")


class InProcess(ABC, Generic[M, S]):
    """An `Executor` without processes for models `M`; `S` is what it keeps of a stream.

    Whatever the model raises but ValueError comes out of `submit`, `poll` or `finish`.
    """

    depth = 1
    waiting = 0
    measured = True
    parks = False

    def __init__(self, model: M) -> None:
        self._model = model
        self.costs: Costs | None = None
        self._streams: dict[str, S] = {}
        self._events: list[Event] = []

    @property
    def period_s(self) -> float:
        """Seconds that a chunk takes."""
        return 0.0 if self.costs is None else self.costs.total_s

    @property
    def info(self) -> ModelInfo:
        """What the model makes."""
        return self._model.info

    def start(self) -> None:
        """Warm the model up and measure it; streams may be opened without."""
        self.costs = measure_whole(self._model)

    def stop(self) -> None:
        """Forget every stream."""
        self._streams.clear()

    def interrupt(self) -> None:
        """Does nothing: what is under way in this process cannot be ended."""
        return

    def open(self, stream: str, request: StreamRequest) -> None:
        """Begin a stream; what the model's `start` refuses is told as `Lost`."""
        try:
            self._streams[stream] = self._start(request)
        except ValueError as error:
            self._events.append(Lost(stream, str(error)))

    def adopt(self, stream: str, past: Past) -> None:
        """Go on with a stream from its beginning: what is saved of it is a pipeline's."""
        if past.parts:
            self._events.append(Lost(stream, "a snapshot needs an executor with processes"))
            return
        self.open(stream, past.request)
        before = len(self._events)
        for controls in past.controls:
            self.submit(stream, controls)
        made = self._events[before:]
        self._events[before:] = [
            each
            for each in made
            if not isinstance(each, Finished) or each.chunk.index >= past.shown_from
        ]

    def submit(self, stream: str, controls: Controls) -> None:
        """Admit a chunk and do what that makes possible."""
        if stream not in self._streams:
            return
        try:
            self._admit(stream, self._streams[stream], controls)
        except ValueError as error:
            self.close(stream)
            self._events.append(Lost(stream, str(error)))

    def submit_together(self, chunks: Sequence[tuple[str, Controls]]) -> None:
        """Admit a chunk of each of several streams."""
        for stream, controls in chunks:
            self.submit(stream, controls)

    def drop(self, stream: str) -> None:
        """Show nothing of what is under way; between calls nothing is."""
        return

    def park(self, stream: str) -> None:
        """Not called: what is saved of streams is a pipeline's."""
        raise AssertionError("it does not park")

    def close(self, stream: str) -> None:
        """Free a stream; what is under way of it is dropped."""
        self._streams.pop(stream, None)

    def next_s(self, now_s: float, under_way: int) -> float | None:
        """Now, unless `depth` chunks are under way."""
        return now_s if under_way < self.depth else None

    def poll(self, timeout_s: float, others: Sequence[Any] = ()) -> list[Event]:
        """What happened since; waits only for `others`."""
        if not self._events and timeout_s > 0:
            if others:
                wait(list(others), timeout_s)
            else:
                time.sleep(timeout_s)
        events, self._events = self._events, []
        return events

    def finish(self) -> list[Event]:
        """What is still under way."""
        return self.poll(0.0)

    def _end(self, stream: str, index: int, chunk: Chunk | None, rows: int = 1) -> None:
        """Tell of a chunk of a batch of `rows` that has passed all its calls; None: not shown."""
        if chunk is None:
            self._events.append(Dropped(stream, index, rows))
        else:
            self._events.append(Finished(stream, chunk, rows=rows))

    @abstractmethod
    def _start(self, request: StreamRequest) -> S:
        """A new stream."""

    @abstractmethod
    def _admit(self, stream: str, kept: S, controls: Controls) -> None:
        """Take a chunk's controls; finished chunks go to `_events`."""
