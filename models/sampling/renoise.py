"""Self-Forcing's sampler (arXiv 2506.08009), and that of its kin: predict x0, noise it, repeat."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..student.config import Prediction
from .flow_schedule import FlowSchedule
from .sampler import NoiseSource, SamplerMemory


class Renoise:
    """Steps at the warped timesteps `steps`; `renoise(x)` gives fresh noise like x between them.

    With `whole_times` the student is told timesteps cut to integers, as FastVideo's live server
    does; the noise levels remain those of `steps`.
    """

    def __init__(
        self,
        schedule: FlowSchedule,
        steps: Sequence[float],
        renoise: NoiseSource,
        *,
        whole_times: bool = False,
    ) -> None:
        self._schedule = schedule
        self._steps = tuple(steps)
        self._renoise = renoise
        self._whole_times = whole_times

    @property
    def timesteps(self) -> Sequence[float]:
        """What the student is told of time, call by call."""
        return tuple(float(int(step)) for step in self._steps) if self._whole_times else self._steps

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
        """As `Sampler.step`; nothing is remembered."""
        del memory
        sample = self._schedule.to_sample(prediction, latents, self._steps[index], kind)
        if index + 1 == len(self._steps):
            return sample
        return self._schedule.add_noise(sample, self._renoise(sample), self._steps[index + 1])
