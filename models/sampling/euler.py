"""Live Avatar's sampler: the flow's ODE in a few fixed steps, each with a cache of its own.

Nothing is noised again and no clean pass is made: step k of every chunk attends to what step k of
earlier chunks left (timestep forcing, arXiv 2512.04677, section 4.1).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..student.config import Prediction
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
