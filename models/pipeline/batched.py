"""Chunks of several streams as one batch, on one device: each call of the student is made once for
all of them. A row's bits depend on how many rows there are, not on which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..contract import Controls, StreamRequest
from ..staged_model import ChunkPlan, StagedModel, all_steps, clean_pass, end_chunk
from .events import Event
from .in_process import InProcess


@dataclass(slots=True)
class _Waiting:
    """A chunk that the next batch makes."""

    stream: str
    state: Any
    plan: ChunkPlan
    shown: bool = True


class Batched(InProcess[StagedModel[Any], Any]):
    """An `Executor` that makes up to `rows` submitted chunks, one of each stream, when polled."""

    def __init__(self, model: StagedModel[Any], rows: int) -> None:
        super().__init__(model)
        self.depth = rows
        self._batch: list[_Waiting] = []

    def submit(self, stream: str, controls: Controls) -> None:
        """Add a chunk to the batch; makes the batch first if it is full or has one of its own."""
        if any(each.stream == stream for each in self._batch) or len(self._batch) == self.depth:
            # a chunk needs the one before it in its caches
            self._make()
        super().submit(stream, controls)

    def drop(self, stream: str) -> None:
        """What waits of it is made, for the stream's past, and not shown."""
        for each in self._batch:
            each.shown = each.shown and each.stream != stream

    def close(self, stream: str) -> None:
        """Free a stream; what is under way of it is dropped."""
        super().close(stream)
        self._batch = [each for each in self._batch if each.stream != stream]

    def poll(self, timeout_s: float, others: Sequence[Any] = ()) -> list[Event]:
        """Make what was submitted."""
        self._make()
        return super().poll(timeout_s, others)

    def _start(self, request: StreamRequest) -> Any:
        return self._model.start(request)

    def _admit(self, stream: str, kept: Any, controls: Controls) -> None:
        plan = self._model.prepare(kept, controls)
        plan.check(len(self._model.chunk_steps.calls))
        self._batch.append(_Waiting(stream, kept, plan))

    def _make(self) -> None:
        """One batch of everything that waits."""
        batch, self._batch = self._batch, []
        if not batch:
            return
        chunks = [(each.plan, each.state.caches) for each in batch]
        made = all_steps(self._model, chunks)
        for each, latents in zip(batch, made, strict=True):
            chunk = end_chunk(self._model, each.plan, latents, each.state, shown=each.shown)
            self._end(each.stream, each.plan.index, chunk, len(batch))
        clean_pass(self._model, chunks, made)
