"""UniPC (arXiv 2302.04867), the sampler of LongLive 2: predictor and corrector of order two.

The variant of Wan's flow solver: B(h) = exp(h) - 1 ("bh2"), x0 is what is extrapolated. Nothing
but the first noise is random.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..student.config import Prediction
from .sampler import SamplerMemory


class UniPC:
    """`count` steps on a grid with `shift`; what it remembers ends with the chunk.

    `sigmas` has an entry more than there are steps, the 0 that the last one reaches.
    """

    def __init__(self, count: int, *, shift: float = 5.0, entries: int = 1000) -> None:
        if count < 1:
            raise ValueError(f"{count} steps; expected at least one")
        top = 1.0 - 1.0 / entries
        line = torch.tensor(top, dtype=torch.float32).double() * torch.linspace(
            1.0, 0.0, count + 1, dtype=torch.float64
        )
        wide = shift * line / (1 + (shift - 1) * line)
        self.sigmas = tuple(wide.float().double().tolist())
        self._times = tuple(float(int(sigma * entries)) for sigma in wide[:-1].tolist())

    @property
    def timesteps(self) -> tuple[float, ...]:
        """What the student is told of time, call by call: integers."""
        return self._times

    def remembers(self, index: int) -> tuple[str, ...]:
        """The two latest predictions of x0, or the first, and the latents of the latest."""
        if index == len(self._times) - 1:
            return ()
        return ("sample", "latents") if index == 0 else ("sample", "latents", "older_sample")

    def step(
        self,
        index: int,
        latents: Tensor,
        prediction: Tensor,
        kind: Prediction,
        memory: SamplerMemory,
    ) -> Tensor:
        """As `Sampler.step`. `memory` holds the two latest predictions of x0 and their latents."""
        sample = prediction
        if kind == "velocity":
            wide = latents.double() - self.sigmas[index] * prediction.double()
            sample = wide.to(latents.dtype)
        if index:
            latents = self._corrected(index, sample, memory)
        if "sample" in memory:
            memory["older_sample"] = memory["sample"]
        memory["sample"], memory["latents"] = sample, latents
        return self._predicted(index, latents, memory)

    def _order(self, index: int) -> int:
        """The order of the prediction behind step `index`: less at both ends of the chunk."""
        return min(2, len(self._times) - index, index + 1)

    def _predicted(self, index: int, latents: Tensor, memory: SamplerMemory) -> Tensor:
        """From step `index` to the next noise level."""
        sample = memory["sample"]
        if self.sigmas[index + 1] == 0.0:
            return sample
        keep, move, step, _ = self._factors(index, index + 1)
        moved = keep * latents - move * sample
        if self._order(index) == 2:
            ratio = (self._lambda(index - 1) - self._lambda(index)) / step
            moved = moved - (move * 0.5 / ratio) * (memory["older_sample"] - sample)
        return moved

    def _corrected(self, index: int, sample: Tensor, memory: SamplerMemory) -> Tensor:
        """The latents that step `index` would have begun with, had `sample` been known before."""
        keep, move, step, growth = self._factors(index - 1, index)
        before, base = memory["sample"], keep * memory["latents"] - move * memory["sample"]
        if self._order(index - 1) == 1:
            return base - (move * 0.5) * (sample - before)
        ratio = (self._lambda(index - 2) - self._lambda(index - 1)) / step
        change = growth / -step - 1
        first = change / growth
        second = 2 * (change / -step - 0.5) / growth
        # rho_0 + rho_1 = first, ratio * rho_0 + rho_1 = second
        rho_0 = (first - second) / (1 - ratio)
        rho_1 = first - rho_0
        older = (memory["older_sample"] - before) / ratio
        return base - move * (rho_0 * older + rho_1 * (sample - before))

    def _factors(self, start: int, end: int) -> tuple[float, float, float, float]:
        """What is kept of the latents, how x0 moves them, the step in log-SNR, and exp(-step) - 1.

        From the noise level of step `start` to that of step `end`.
        """
        step = self._lambda(end) - self._lambda(start)
        growth = math.expm1(-step)
        move = (1 - self.sigmas[end]) * growth
        return self.sigmas[end] / self.sigmas[start], move, step, growth

    def _lambda(self, index: int) -> float:
        """Half the log-SNR at step `index`."""
        return math.log((1 - self.sigmas[index]) / self.sigmas[index])
