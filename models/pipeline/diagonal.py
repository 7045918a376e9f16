"""All S noise levels of S successive chunks as one batch, on one device.

Step k of chunk n runs with step k - 1 of chunk n + 1: a group of S rows shares every weight that
is read. Throughput is that of batch S; a chunk comes S - 1 admissions later. For models with a
cache for each step: with one cache and a clean pass a chunk's first step needs the clean pass of
the chunk before.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ..contract import Controls, StreamRequest
from ..staged_model import ChunkPlan, Row, StagedModel, end_chunk
from .events import Event
from .in_process import InProcess


@dataclass(slots=True)
class _Kept:
    """One stream: its state, and its chunks under way, oldest first, with their latents."""

    state: Any
    under_way: list[tuple[ChunkPlan, Tensor | None]] = field(default_factory=list)
    shown_from: int = 0
    """Chunks before this one were dropped."""


class Diagonal(InProcess[StagedModel[Any], _Kept]):
    """An `Executor` that finishes the chunk admitted S - 1 submissions of its stream before."""

    def __init__(self, model: StagedModel[Any]) -> None:
        """Raises ValueError for a model whose calls share a cache."""
        super().__init__(model)
        calls = model.chunk_steps.calls
        if len(model.chunk_steps.cuts) != len(calls) - 1:
            raise ValueError(
                f"{model.info.name} has {model.chunk_steps.caches} caches for {len(calls)} calls: "
                "calls of different chunks can be one batch only with a cache for each"
            )
        self.depth = len(calls)

    def drop(self, stream: str) -> None:
        """What is under way passes its remaining calls and is not shown."""
        kept = self._streams.get(stream)
        if kept is not None and kept.under_way:
            kept.shown_from = kept.under_way[-1][0].index + 1

    def finish(self) -> list[Event]:
        """Take what is under way to its end."""
        for stream, kept in self._streams.items():
            call = 1
            while kept.under_way:
                self._move(stream, kept, newest_call=call)
                call += 1
        return self.poll(0.0)

    def _start(self, request: StreamRequest) -> _Kept:
        return _Kept(self._model.start(request))

    def _admit(self, stream: str, kept: _Kept, controls: Controls) -> None:
        plan = self._model.prepare(kept.state, controls)
        plan.check(self.depth)
        kept.under_way.append((plan, None))
        self._move(stream, kept, newest_call=0)

    def _move(self, stream: str, kept: _Kept, *, newest_call: int) -> None:
        """Run one batch in which the newest chunk is at `newest_call`, older ones further on."""
        count, calls = len(kept.under_way), self._model.chunk_steps.calls
        rows = [
            Row(plan, call, latents, kept.state.caches[calls[call].cache])
            for (plan, latents), call in zip(
                kept.under_way, range(newest_call + count - 1, newest_call - 1, -1), strict=True
            )
        ]
        latents = self._model.denoise(rows)
        kept.under_way = [(row.plan, new) for row, new in zip(rows, latents, strict=True)]
        if rows[0].call < self.depth - 1:
            return
        plan, clean = kept.under_way.pop(0)
        assert clean is not None
        shown = plan.index >= kept.shown_from
        chunk = end_chunk(self._model, plan, clean, kept.state, shown=shown)
        self._end(stream, plan.index, chunk)
