"""Phased DMD (arXiv 2510.27684): an expert for each interval of noise, trained at its own end.

Expert p leads from level s_{p-1} to s_p and is matched there, not at clean clips: its point x_s is
brought to levels sigma in (s, 1) by x_sigma = alpha x_s + beta noise (equation 11). The fake score
of a phase predicts clean clips of which only x_s is known. In x0 terms its unbiased target is

    x_s / (1 - s) - (1 - sigma) s^2 noise / ((1 - s)^2 beta),

whose mean given x_sigma is that of x0 (equation 13 in velocities). d = R_w - F moves the estimate
of the step under way. With a single exit anywhere, the first step is trained as a one-step
generator and decides for all later ones; here no phase but the last ever ends at clean clips.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..loop import Losses
from .distillation import Distillation, Rollout, ScoredTask, move, random_step, size_of
from .experts import Experts
from .fake_score import FakeScore, lag
from .levels import along, levels_between, raised, raising, stepped

_MARGIN, _TOP = 0.02, 0.98
_MOST_WEIGHT = 10.0


class PhasedDMD(Distillation):
    """Wants an `Experts`; every update is one of a random phase.

    With `biased` the fake score takes the point for a clean clip: a control.
    """

    deterministic = True

    def __init__(
        self,
        task: ScoredTask,
        *,
        guidance: float = 1.0,
        fake_updates: int = 3,
        fake_rate: float = 2e-3,
        biased: bool = False,
    ) -> None:
        super().__init__(task)
        self.guidance, self._biased = guidance, biased
        self._fake_updates, self._fake_rate = fake_updates, fake_rate
        self.lag: dict[str, float] = {}

    def begin(self, student: nn.Module) -> None:
        if not isinstance(student, Experts):
            raise TypeError(f"phases want Experts, one for each; got {type(student).__name__}")
        self.ends = student.ends
        self.fakes = [FakeScore(self.task, self._fake_rate) for _ in self.ends]
        steps_of = [student.at(sigma) for sigma in self.sigmas]
        self._steps = [
            [k for k, network in enumerate(steps_of) if network is expert]
            for expert in student.networks
        ]
        if not all(self._steps):
            raise ValueError(f"ends {self.ends} leave a phase without one of steps {self.sigmas}")

    def losses(self, student: nn.Module, batch: Any, *, pixels: bool = False) -> Losses:
        phase = random_step(len(self.ends))
        rollout = self._rollout(student, batch, phase)
        for _ in range(self._fake_updates):
            self._learn(batch, rollout, phase)
        made = self.task.last_step(student, batch, rollout)
        return {"matching": self.matching(made, batch, rollout, phase)}

    def _rollout(self, student: nn.Module, batch: Any, phase: int) -> Rollout:
        step = self._steps[phase][random_step(len(self._steps[phase]))]
        return self.task.roll_out(student, batch, self.sigmas[: step + 1], deterministic=True)

    def _learn(self, batch: Any, rollout: Rollout, phase: int) -> None:
        end = self.ends[phase]
        point = stepped(rollout.noisy, rollout.made, rollout.sigma, end, deterministic=True)
        sigma = levels_between(len(point), end + _MARGIN, _TOP)
        noise = torch.randn_like(point)
        target = point if self._biased else clean_target(point, end, sigma, noise)
        beta = raising(end, sigma)[1]
        weight = (1 / beta**2).clamp(max=_MOST_WEIGHT) * beta**2
        self.fakes[phase].learn(batch, raised(point, end, sigma, noise), sigma, target, weight)

    def matching(self, made: Tensor, batch: Any, rollout: Rollout, phase: int) -> Tensor:
        """The loss that moves the step's estimates [B, F, C, h, w]; scalar."""
        with torch.no_grad():
            end = self.ends[phase]
            point = stepped(rollout.noisy, made, rollout.sigma, end, deterministic=True)
            sigma = levels_between(len(point), end + _MARGIN, _TOP)
            noisy = raised(point, end, sigma)
            real = self.guided(batch, noisy, sigma, self.guidance)
            fake = self.fakes[phase](batch, noisy, sigma)
            self.lag = lag(real, fake, made)
        return move(made, real - fake, size_of(made - real))


def clean_target(point: Tensor, end: float, sigma: Tensor, noise: Tensor) -> Tensor:
    """What a score of clean clips is taught by a point of level `end`, brought to `sigma` [B].

    Not a clean clip: it has more spread, and the right mean at every noisy clip.
    """
    s = along(sigma, point)
    beta = raising(end, s)[1]
    return point / (1 - end) - (1 - s) * end**2 * noise / ((1 - end) ** 2 * beta)
