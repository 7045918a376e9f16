"""Flow matching at any time: the truth, made noisy, is to be found (arXiv 2210.02747).

All chunks of a sequence share one time (the past that attention sees is as noisy as the present).
A model taught so knows the score of the data at every time, which distribution matching needs.
"""

from __future__ import annotations

import torch
from torch import nn

from ..loop import Losses
from .contract import Batch, Objective, Task


class FlowMatching(Objective[Task]):
    """Times are uniform over the whole schedule; the student's own errors are never seen."""

    def losses(self, student: nn.Module, batch: Batch, *, pixels: bool = False) -> Losses:
        timestep = 1000 * float(1 - torch.rand(()))
        noisy = self.task.renoise(batch.latents, timestep)
        made = self.task.estimate(student, batch, noisy, timestep)
        return self.task.errors(batch, made, pixels=pixels)
