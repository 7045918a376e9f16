"""Live Avatar's sampler: the flow's ODE in a few fixed steps, each with a cache of its own.

Nothing is noised again and no clean pass is made: step k of every chunk attends to what step k of
earlier chunks left (timestep forcing, arXiv 2512.04677, section 4.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..student.causal_student import NO_CONDITIONS, CausalStudent
from ..student.conditioning import Conditions, TextContext
from ..student.config import Prediction
from ..student.kv_cache import StudentCache
from ..student.token_sink import SinkTokens
from .batches import CallRow, call_rows
from .sampler import SamplerMemory


@dataclass(frozen=True, slots=True)
class EulerSchedule:
    """`timesteps` of the steps, and their `sigmas` with the one that the last step reaches."""

    timesteps: tuple[float, ...]
    sigmas: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.timesteps or len(self.sigmas) != len(self.timesteps) + 1:
            raise ValueError(
                f"{len(self.timesteps)} timesteps and {len(self.sigmas)} sigmas; expected at least "
                "one and one more"
            )

    @classmethod
    def shifted_twice(
        cls, steps: int = 4, shift: float = 3.0, entries: int = 1000
    ) -> EulerSchedule:
        """The published schedule: its table is shifted, and the steps picked from it are again."""

        def shifted(sigma: float) -> float:
            return shift * sigma / (1 + (shift - 1) * sigma)

        last = shifted(1 / entries)
        gap = (1 - last) / max(1, steps - 1)
        sigmas = [shifted(1 - gap * step) for step in range(steps)]
        return cls(tuple(entries * sigma for sigma in sigmas), (*sigmas, 0.0))


class Euler:
    """Steps of `schedule`; nothing but the first noise is random, and nothing is remembered."""

    def __init__(self, schedule: EulerSchedule) -> None:
        self._schedule = schedule

    @property
    def timesteps(self) -> tuple[float, ...]:
        """What the student is told of time, call by call."""
        return self._schedule.timesteps

    def remembers(self, index: int) -> tuple[str, ...]:
        """Nothing."""
        del index
        return ()

    def step(
        self,
        index: int,
        latents: Tensor,
        prediction: Tensor,
        kind: Prediction,
        memory: SamplerMemory,
    ) -> Tensor:
        """As `Sampler.step`. Raises ValueError for a student that predicts the sample."""
        del memory
        if kind != "velocity":
            raise ValueError("the ODE is stepped with velocities; this student predicts the sample")
        gap = self._schedule.sigmas[index + 1] - self._schedule.sigmas[index]
        return latents + gap * prediction


@dataclass(frozen=True, slots=True)
class EulerRow:
    """Step `step` of a chunk whose `latents` are [1, F, C, h, w].

    A `sink` replaces the cache's from this chunk on. As each step has its own cache, each changes
    over when the chunk reaches it, and chunks ahead of it are not waited for.
    """

    latents: Tensor
    step: int
    cache: StudentCache
    context: TextContext
    conditions: Conditions = NO_CONDITIONS
    sink: SinkTokens | None = None


@torch.no_grad()
def euler_rows(
    student: CausalStudent, rows: Sequence[EulerRow], schedule: EulerSchedule
) -> list[Tensor]:
    """The latents [1, F, C, h, w] of each row after its step, as one batch; advances the caches.

    Raises ValueError for a student that predicts the sample.
    """
    sampler = Euler(schedule)
    for row in rows:
        if row.sink is not None:
            row.cache.set_sink(row.sink)
    return call_rows(
        student,
        [
            CallRow(row.latents, row.context, row.conditions, row.cache, sampler, row.step)
            for row in rows
        ],
    )


@torch.no_grad()
def euler_chunk(
    student: CausalStudent,
    caches: Sequence[StudentCache],
    noise: Tensor,
    schedule: EulerSchedule,
    context: TextContext,
    conditions: Conditions = NO_CONDITIONS,
    *,
    sink: SinkTokens | None = None,
) -> Tensor:
    """The next chunk's clean latents [1, F, C, h, w] from `noise`; `caches` has one a step."""
    if len(caches) != len(schedule.timesteps):
        raise ValueError(f"{len(caches)} caches for {len(schedule.timesteps)} steps; one a step")
    latents = noise
    for step, cache in enumerate(caches):
        row = EulerRow(latents, step, cache, context, conditions, sink)
        (latents,) = euler_rows(student, [row], schedule)
    return latents
