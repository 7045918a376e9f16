"""Flow matching at any time: the truth, made noisy, is to be found (arXiv 2210.02747).

All chunks of a sequence share one time (the past that attention sees is as noisy as the present).
A model taught so knows the score of the data at every time, which distribution matching needs.
"""

from __future__ import annotations

import torch

from ..loop import Losses
from ..pocket_student import PocketStudent
from ..sequences import Batch
from .contract import Objective


class FlowMatching(Objective):
    """Times are uniform over the whole schedule; the student's own errors are never seen."""

    def losses(self, student: PocketStudent, batch: Batch, *, pixels: bool) -> Losses:
        timestep = 1000 * float(1 - torch.rand(()))
        noisy = self.task.renoise(batch.latents, timestep)
        made = self.task.estimate(student, batch, noisy, timestep)
        return self.errors(batch, made, pixels=pixels)
