"""All S noise levels of S successive chunks as one batch, on one device.

Step k of chunk n runs with step k - 1 of chunk n + 1: a group of S rows shares every weight that
is read. Throughput is that of batch S; a chunk comes S - 1 admissions later.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ..contract import Controls, ModelInfo
from .events import Finished
from .executor import ChunkPlan, Row, StagedModel


@dataclass(slots=True)
class _Line:
    """One stream: its state, and its chunks under way, oldest first, with their latents."""

    state: Any
    under_way: list[tuple[ChunkPlan, Tensor | None]] = field(default_factory=list)


class Diagonal:
    """An `Executor` whose `step` returns the chunk admitted S - 1 steps of its stream before."""

    def __init__(self, model: StagedModel[Any]) -> None:
        self._model = model
        self._lines: dict[str, _Line] = {}

    @property
    def info(self) -> ModelInfo:
        """What the model makes."""
        return self._model.info

    def open(
        self,
        stream: str,
        *,
        seed: int,
        scene: str | None = None,
        prompt: str | None = None,
        picture: bytes | None = None,
    ) -> None:
        """Begin a stream. Raises ValueError for what the model's `start` refuses."""
        state = self._model.start(seed=seed, scene=scene, prompt=prompt, picture=picture)
        self._lines[stream] = _Line(state)

    def step(self, stream: str, controls: Controls) -> list[Finished]:
        """Admit a chunk and take all chunks of its stream one step further."""
        line = self._lines[stream]
        plan = self._model.prepare(line.state, controls)
        plan.check(self._model.steps)
        line.under_way.append((plan, None))
        return self._move(stream, newest_step=0)

    def finish(self) -> list[Finished]:
        """Take what is under way to its end."""
        done: list[Finished] = []
        for stream, line in self._lines.items():
            step = 1
            while line.under_way:
                done += self._move(stream, newest_step=step)
                step += 1
        return done

    def close(self, stream: str) -> None:
        """Free a stream; what is under way of it is dropped."""
        self._lines.pop(stream, None)

    def _move(self, stream: str, *, newest_step: int) -> list[Finished]:
        """Run one batch in which the newest chunk is at `newest_step`, older ones further on."""
        line, last = self._lines[stream], self._model.steps - 1
        count = len(line.under_way)
        rows = [
            Row(plan, step, latents, line.state.caches[step])
            for (plan, latents), step in zip(
                line.under_way, range(newest_step + count - 1, newest_step - 1, -1), strict=True
            )
        ]
        latents = self._model.denoise(rows)
        line.under_way = [(row.plan, new) for row, new in zip(rows, latents, strict=True)]
        if rows[0].step < last:
            return []
        plan, clean = line.under_way.pop(0)
        assert clean is not None
        if plan.needed_by is not None:
            line.state.returns[plan.needed_by] = clean
        return [Finished(stream, self._model.decode(plan, clean, line.state.kept))]
