"""Chunks of several streams as one batch, on one device: each call of the student is made once for
all of them. A row's bits depend on how many rows there are, not on which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..contract import Controls, StreamRequest
from ..staged_model import ChunkPlan, StagedModel, all_calls, decode_chunk
from .events import Event, Finished
from .in_process import InProcess


class Batched(InProcess[Any]):
    """An `Executor` that makes up to `rows` submitted chunks, one of each stream, when polled."""

    def __init__(self, model: StagedModel[Any], rows: int) -> None:
        super().__init__(model)
        self._model = model
        self.depth = rows
        self._waiting: list[tuple[str, Any, ChunkPlan]] = []

    def close(self, stream: str) -> None:
        """Free a stream; what is under way of it is dropped."""
        super().close(stream)
        self._waiting = [each for each in self._waiting if each[0] != stream]

    def poll(self, timeout_s: float, others: Sequence[Any] = ()) -> list[Event]:
        """Make what was submitted."""
        self._make()
        return super().poll(timeout_s, others)

    def _start(self, request: StreamRequest) -> Any:
        return self._model.start(request)

    def _admit(self, stream: str, kept: Any, controls: Controls) -> None:
        if any(name == stream for name, _, _ in self._waiting) or len(self._waiting) == self.depth:
            # a chunk needs the one before it in its caches
            self._make()
        plan = self._model.prepare(kept, controls)
        plan.check(len(self._model.chunk_steps.calls))
        self._waiting.append((stream, kept, plan))

    def _make(self) -> None:
        """One batch of everything that waits."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        clean = all_calls(self._model, [(plan, state.caches) for _, state, plan in waiting])
        for (stream, state, plan), latents in zip(waiting, clean, strict=True):
            if plan.needed_by is not None:
                state.returns[plan.needed_by] = latents
            chunk = decode_chunk(self._model, plan, latents, state.decoder)
            self._events.append(Finished(stream, chunk))
