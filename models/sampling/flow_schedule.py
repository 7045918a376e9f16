"""The table of timesteps and noise levels that flow matching students were trained with.

x_t = (1 - sigma) * x0 + sigma * noise, velocity = noise - x0, time t in 0..1000.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from ..student.config import Prediction


@functools.cache
def flow_schedule(shift: float, *, twice: bool) -> FlowSchedule:
    """The published table, made once; nobody writes to it."""
    # whoever asks first, in whatever mode, on whatever device: others use it for training
    with torch.inference_mode(False), torch.device("cpu"):
        return FlowSchedule(shift, twice=twice)


class FlowSchedule:
    """The published table of `entries` timesteps with its `shift`.

    Sigma of a timestep is that of the nearest entry, never timestep / 1000: warped timesteps are
    not integers. `twice` is FastVideo's table, whose ends are shifted before the whole is.
    """

    def __init__(self, shift: float = 5.0, entries: int = 1000, *, twice: bool = False) -> None:
        line = torch.linspace(1.0, 0.0, entries + 1)[:-1]
        if twice:
            # In float64 and from 1 to the last sigma of a table that is shifted once.
            last = float(_shifted(torch.tensor(1 / entries), shift))
            line = torch.linspace(1.0, last, entries, dtype=torch.float64)
        self.sigmas = _shifted(line, shift).float()
        self.timesteps = self.sigmas * entries

    def sigma(self, timestep: float) -> float:
        """Share of noise at `timestep`."""
        return float(self.sigmas[(self.timesteps - timestep).abs().argmin()])

    def warp(self, steps: Sequence[int]) -> tuple[float, ...]:
        """Timesteps of an unwarped step list such as (1000, 750, 500, 250); step 0 is 0."""
        entries = len(self.timesteps)
        for step in steps:
            if not 0 <= step <= entries:
                raise ValueError(f"step {step} is outside 0..{entries}")
        return tuple(float(self.timesteps[entries - step]) if step else 0.0 for step in steps)

    def add_noise(self, sample: Tensor, noise: Tensor, timestep: float) -> Tensor:
        """`sample` at `timestep`, in its dtype."""
        sigma = self.sigma(timestep)
        return ((1 - sigma) * sample + sigma * noise).to(sample.dtype)

    def to_sample(
        self, prediction: Tensor, noisy: Tensor, timestep: float, kind: Prediction
    ) -> Tensor:
        """x0 of a student's prediction for `noisy` at `timestep`; velocities in float64 inside."""
        if kind == "sample":
            return prediction
        return (noisy.double() - self.sigma(timestep) * prediction.double()).to(noisy.dtype)


def _shifted(sigmas: Tensor, shift: float) -> Tensor:
    return shift * sigmas / (1 + (shift - 1) * sigmas)
