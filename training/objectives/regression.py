"""Regression: one step from pure noise to the truth. Whatever noise should decide is averaged."""

from __future__ import annotations

import torch

from rollcast.models.pocket.config import STEPS

from ..loop import Losses
from ..pocket_student import PocketStudent
from ..sequences import Batch
from .contract import Objective


class Regression(Objective):
    """The student's single step is trained on what it sees in a stream."""

    steps = STEPS[:1]

    def losses(self, student: PocketStudent, batch: Batch, *, pixels: bool) -> Losses:
        noise = torch.randn_like(batch.latents)
        made = self.task.estimate(student, batch, noise, STEPS[0])
        return self.errors(batch, made, pixels=pixels)
