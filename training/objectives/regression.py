"""Regression: one step from pure noise to the truth. Whatever noise should decide is averaged."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ..loop import Losses
from .contract import Batch, Objective, Task


class Regression(Objective[Task]):
    """The student's single step is trained on what it sees in a stream."""

    @property
    def steps(self) -> Sequence[float]:
        """The first alone."""
        return self.task.steps[:1]

    def losses(self, student: nn.Module, batch: Batch, *, pixels: bool = False) -> Losses:
        noise = torch.randn_like(batch.latents)
        made = self.task.estimate(student, batch, noise, self.task.steps[0])
        return self.task.errors(batch, made, pixels=pixels)
