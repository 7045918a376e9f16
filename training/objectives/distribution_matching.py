"""Distribution matching on self-rollouts: DMD2 (arXiv 2405.14867) inside Self Forcing's loop.

The student's samples are made noisy again at a random time. A frozen network says what the data
would look like there (the real score), a second one, which keeps learning from the student's
samples, what the student's look like (the fake score). Their difference moves the sample towards
the data's distribution, not towards one truth. The fake score learns twice for each step of the
student (two time scales, section 4.2 there).
"""

from __future__ import annotations

import copy
from itertools import pairwise

import torch
from torch import Tensor, nn

from ..loop import Losses
from .contract import Batch, Objective, T

_FAKE_STEPS, _FAKE_RATE = 2, 4e-4
_TIMES = (50.0, 950.0)


class DistributionMatching(Objective[T]):
    """Both scores begin as the network that the student begins as: it must know all times.

    That is what `FlowMatching` leaves behind.
    """

    def begin(self, student: nn.Module) -> None:
        self.real = copy.deepcopy(student).requires_grad_(False).eval()
        self.fake = copy.deepcopy(student).requires_grad_(True)
        self.optimizer = torch.optim.AdamW(self.fake.parameters(), _FAKE_RATE, betas=(0.0, 0.99))

    def losses(self, student: nn.Module, batch: Batch, *, pixels: bool = False) -> Losses:
        for _ in range(_FAKE_STEPS):
            self._learn_fake(student)
        made = self._rollout(student, batch)
        return {"matching": self._matching(made.float(), batch)}

    def _rollout(self, student: nn.Module, batch: Batch) -> Tensor:
        """Samples after a random number of steps; the gradient goes through the last one."""
        steps = self.task.steps[: 1 + int(torch.randint(len(self.task.steps), ()))]
        x = torch.randn_like(batch.latents)
        for now, then in pairwise(steps):
            with torch.no_grad():
                sample = self.task.estimate(student, batch, x, now).float()
            x = self.task.renoise(sample, then)
        return self.task.estimate(student, batch, x, steps[-1])

    def _learn_fake(self, student: nn.Module) -> None:
        batch = self.task.draw()
        with torch.no_grad():
            made = self._rollout(student, batch).float()
        timestep = _random_time()
        seen = self.task.estimate(self.fake, batch, self.task.renoise(made, timestep), timestep)
        self.optimizer.zero_grad()
        (seen.float() - made).square().mean().backward()
        torch.nn.utils.clip_grad_norm_(self.fake.parameters(), 1.0)
        self.optimizer.step()

    def _matching(self, made: Tensor, batch: Batch) -> Tensor:
        timestep = _random_time()
        with torch.no_grad():
            noisy = self.task.renoise(made, timestep)
            real = self.task.estimate(self.real, batch, noisy, timestep).float()
            fake = self.task.estimate(self.fake, batch, noisy, timestep).float()
            # equation 8 of DMD (arXiv 2311.18828): steps of like size at every time
            size = (made - real).abs().mean((1, 2, 3, 4), keepdim=True).clamp(min=1e-3)
            wanted = made - (fake - real) / size
            weight = self.weigh(made, batch)
        error = (made - wanted).square().mean((1, 2, 3, 4))
        return 0.5 * (weight * error).mean()

    def weigh(self, made: Tensor, batch: Batch) -> Tensor:
        """How much each sequence of a batch counts [B]."""
        return torch.ones(len(made))


def _random_time() -> float:
    low, high = _TIMES
    return low + (high - low) * float(torch.rand(()))
