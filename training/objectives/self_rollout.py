"""Flow matching at the steps of the stream, on the student's own estimates.

Every chunk of a sequence is at the same denoising step, as in a stream with one cache per step,
so one masked pass is a rollout and nothing has to be unrolled. The first step starts from pure
noise; half of the time the second is trained on the student's own first estimate (Self Forcing,
arXiv 2506.08009), so that it meets in training what it meets in a stream.
"""

from __future__ import annotations

import torch

from rollcast.models.pocket.config import STEPS

from ..loop import Losses
from ..pocket_student import PocketStudent
from ..sequences import Batch
from .contract import Objective

_OWN_ESTIMATE = 0.5


class SelfRollout(Objective):
    """One random step of the sampler is trained at a time."""

    def losses(self, student: PocketStudent, batch: Batch, *, pixels: bool) -> Losses:
        task = self.task
        noisy, timestep = torch.randn_like(batch.latents), STEPS[0]
        if torch.rand(()) < 0.5:
            sample = batch.latents
            if torch.rand(()) < _OWN_ESTIMATE:
                with torch.no_grad():
                    sample = task.estimate(student, batch, noisy, timestep).float()
            timestep = STEPS[1]
            noisy = task.renoise(sample, timestep)
        made = task.estimate(student, batch, noisy, timestep)
        return self.errors(batch, made, pixels=pixels)
