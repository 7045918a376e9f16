"""Flow matching at the steps of the stream, on the student's own estimates.

Every chunk of a sequence is at the same denoising step, as in a stream with one cache per step,
so one masked pass is a rollout and nothing has to be unrolled. The first step starts from pure
noise; half of the time the second is trained on the student's own first estimate (Self Forcing,
arXiv 2506.08009), so that it meets in training what it meets in a stream.
"""

from __future__ import annotations

import torch
from torch import nn

from ..loop import Losses
from .contract import Batch, Objective, Task

_OWN_ESTIMATE = 0.5


class SelfRollout(Objective[Task]):
    """One random step of the sampler is trained at a time."""

    def losses(self, student: nn.Module, batch: Batch, *, pixels: bool = False) -> Losses:
        task = self.task
        noisy, timestep = torch.randn_like(batch.latents), task.steps[0]
        if torch.rand(()) < 0.5:
            sample = batch.latents
            if torch.rand(()) < _OWN_ESTIMATE:
                with torch.no_grad():
                    sample = task.estimate(student, batch, noisy, timestep).float()
            timestep = task.steps[1]
            noisy = task.renoise(sample, timestep)
        made = task.estimate(student, batch, noisy, timestep)
        return task.errors(batch, made, pixels=pixels)
