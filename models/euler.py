"""Live Avatar's sampler: the flow's ODE in a few fixed steps, each with a cache of its own.

Nothing is noised again and no clean pass is made: step k of every chunk attends to what step k of
earlier chunks left (timestep forcing, arXiv 2512.04677, section 4.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .conditioning import Conditions, TextContext
from .kv_cache import StudentCache
from .student import NO_CONDITIONS, CausalStudent
from .token_sink import SinkTokens


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


@torch.no_grad()
def euler_step(
    student: CausalStudent,
    cache: StudentCache,
    latents: Tensor,
    schedule: EulerSchedule,
    step: int,
    context: TextContext,
    conditions: Conditions = NO_CONDITIONS,
    *,
    sink: SinkTokens | None = None,
) -> Tensor:
    """`latents` [B, F, C, h, w] of the next chunk after step `step`; advances its `cache`.

    A `sink` replaces the cache's from this chunk on. As each step has its own cache, each changes
    over when the chunk reaches it, and chunks ahead of it are not waited for.
    """
    if student.config.prediction != "velocity":
        raise ValueError("the ODE is stepped with velocities; this student predicts the sample")
    if sink is not None:
        cache.set_sink(sink)
    time = schedule.timesteps[step]
    times = torch.full(latents.shape[:2], time, dtype=torch.float32, device=latents.device)
    velocity = student(latents, times, context, cache, conditions)
    cache.advance(latents.shape[1])
    return latents + (schedule.sigmas[step + 1] - schedule.sigmas[step]) * velocity


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
    """The next chunk's clean latents [B, F, C, h, w] from `noise`; `caches` has one a step."""
    if len(caches) != len(schedule.timesteps):
        raise ValueError(f"{len(caches)} caches for {len(schedule.timesteps)} steps; one a step")
    latents = noise
    for step, cache in enumerate(caches):
        latents = euler_step(
            student, cache, latents, schedule, step, context, conditions, sink=sink
        )
    return latents
