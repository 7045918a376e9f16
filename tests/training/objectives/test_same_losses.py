"""What the embedded model is taught by is bit for bit what its first objectives were.

The formulas are written out here as they stood in those, on the embedded model's own student.
"""

from __future__ import annotations

import copy
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from rollcast.models.pocket.config import STEPS
from training.objectives import OBJECTIVES
from training.pocket_student import PocketStudent
from training.sequences import Batch
from training.task import TrainingTask

Embedded = tuple[TrainingTask, PocketStudent, Batch]


class _Before:
    """The objectives as functions of a student and a batch."""

    def __init__(self, task: TrainingTask, student: PocketStudent, batch: Batch) -> None:
        self.task, self.student, self.batch = task, student, batch

    def error(self, made: Tensor) -> Tensor:
        return self.task.latent_error(self.batch, made)

    def see(self, noisy: Tensor, time: float, student: PocketStudent | None = None) -> Tensor:
        return (student or self.student)(self.batch, self.task.references, noisy, time)

    def regression(self) -> Tensor:
        return self.error(self.see(torch.randn_like(self.batch.latents), STEPS[0]))

    def flow_matching(self) -> Tensor:
        time = 1000 * float(1 - torch.rand(()))
        return self.error(self.see(self.task.renoise(self.batch.latents, time), time))

    def self_rollout(self) -> Tensor:
        noisy, time = torch.randn_like(self.batch.latents), STEPS[0]
        if torch.rand(()) < 0.5:
            sample = self.batch.latents
            if torch.rand(()) < 0.5:
                with torch.no_grad():
                    sample = self.see(noisy, time).float()
            time = STEPS[1]
            noisy = self.task.renoise(sample, time)
        return self.error(self.see(noisy, time))

    def distribution_matching(self) -> Tensor:
        fake = copy.deepcopy(self.student)
        optimizer = torch.optim.AdamW(fake.parameters(), 4e-4, betas=(0.0, 0.99))
        for _ in range(2):
            with torch.no_grad():
                made = self._made()
            time = 50 + 900 * float(torch.rand(()))
            seen = self.see(self.task.renoise(made, time), time, fake)
            optimizer.zero_grad()
            (seen - made).square().mean().backward()
            torch.nn.utils.clip_grad_norm_(fake.parameters(), 1.0)
            optimizer.step()
        made = self._made()
        time = 50 + 900 * float(torch.rand(()))
        with torch.no_grad():
            noisy = self.task.renoise(made, time)
            real, false = self.see(noisy, time), self.see(noisy, time, fake)
            size = (made - real).abs().mean((1, 2, 3, 4), keepdim=True).clamp(min=1e-3)
            wanted = made - (false - real) / size
        return 0.5 * (made - wanted).square().mean((1, 2, 3, 4)).mean()

    def _made(self) -> Tensor:
        steps = STEPS[: 1 + int(torch.randint(len(STEPS), ()))]
        x = torch.randn_like(self.batch.latents)
        for now, then in pairwise(steps):
            with torch.no_grad():
                sample = self.see(x, now)
            x = self.task.renoise(sample, then)
        return self.see(x, steps[-1])


@pytest.mark.parametrize(
    "name",
    [
        "regression",
        "flow-matching",
        "self-rollout",
        pytest.param("distribution-matching", marks=pytest.mark.long),
    ],
)
def test_losses_are_what_they_were(embedded: Embedded, name: str) -> None:
    task, student, batch = embedded
    for seed in (1, 3) if name == "self-rollout" else (1,):
        torch.manual_seed(seed)
        expected = getattr(_Before(task, student, batch), name.replace("-", "_"))()
        torch.manual_seed(seed)
        objective = OBJECTIVES[name](task)
        objective.begin(student)
        (loss,) = objective.losses(student, batch, pixels=False).values()
        assert torch.equal(loss, expected)
