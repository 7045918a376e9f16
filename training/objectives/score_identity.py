"""SiD, score identity distillation, for few steps and without data.

The loss is not a direction but a distance of scores, back-propagated through both networks:

    mean[(R - F) . ((R - y) - alpha (R - F))] / mean |y - R|

(equation 23 of SiD, arXiv 2404.04057, in x0; alpha = 1 is the Fisher divergence by the score
identity). Few steps after arXiv 2505.12674: the clips of a random step of the student's chain, its
inputs without gradients; one fake score for all steps. Guidance w of R and F: x_none + w (x_told -
x_none). Equal ones are LSG's long-short guidance (arXiv 2406.01561), `zero` is R at 1 with a fake
score that is told no prompt, `anti` R at 1 with a negative w of F.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..loop import Losses
from .distillation import Distillation, ScoredTask, random_step, size_of
from .fake_score import FakeScore, lag
from .levels import drawn_levels, noised

_MOST = 5.0
ZERO, ANTI = 0.0, -1.0
"""Guidance of the fake score in zero-CFG and anti-CFG."""


class ScoreIdentity(Distillation):
    """No clip of the data is ever seen: a batch that has some is refused."""

    def __init__(
        self,
        task: ScoredTask,
        *,
        guidance: float = 1.0,
        fake_guidance: float = 1.0,
        alpha: float = 1.0,
        fake_updates: int = 2,
        fake_rate: float = 8e-4,
        shift: float = 3.0,
    ) -> None:
        super().__init__(task)
        self.guidance, self._fake_guidance, self._alpha = guidance, fake_guidance, alpha
        self._fake_updates, self._fake_rate, self._shift = fake_updates, fake_rate, shift
        self.lag: dict[str, float] = {}

    def begin(self, student: nn.Module) -> None:
        self.fake = FakeScore(self.task, self._fake_rate)

    def losses(self, student: nn.Module, batch: Any, *, pixels: bool = False) -> Losses:
        assert batch.latents is None, "score identity distillation is taught without data"
        steps = 1 + random_step(len(self.sigmas))
        rollout = self.task.roll_out(student, batch, self.sigmas[:steps])
        for _ in range(self._fake_updates):
            self._learn(batch, rollout.made)
        made = self.task.last_step(student, batch, rollout)
        return {"matching": self.matching(made, batch)}

    def _learn(self, batch: Any, made: Tensor) -> None:
        sigma = drawn_levels(len(made), self._shift)
        told = self._fake_guidance == 1 or (self._fake_guidance != 0 and bool(torch.rand(()) < 0.5))
        self.fake.learn(batch, noised(made, sigma), sigma, made, prompted=told)

    def matching(self, made: Tensor, batch: Any) -> Tensor:
        """The distance of scores at samples [B, F, C, h, w]; scalar."""
        if made.requires_grad:
            made.register_hook(tamed)
        sigma = drawn_levels(len(made), self._shift)
        noisy = noised(made, sigma)
        real = self.guided(batch, noisy, sigma, self.guidance)
        self.fake.network.requires_grad_(False)
        fake = self._guided_fake(batch, noisy, sigma)
        self.fake.network.requires_grad_(True)
        self.lag = lag(real, fake, made)
        apart = real - fake
        distance = apart * ((real - made) - self._alpha * apart)
        return torch.nan_to_num(distance / size_of(made - real)).mean()

    def _guided_fake(self, batch: Any, noisy: Tensor, sigma: Tensor) -> Tensor:
        w = self._fake_guidance
        if w in (0, 1):
            return self.fake(batch, noisy, sigma, prompted=w == 1)
        told, untold = (self.fake(batch, noisy, sigma, prompted=p) for p in (True, False))
        return untold + w * (told - untold)


def tamed(gradient: Tensor) -> Tensor:
    """A gradient of samples [B, ...] of which no clip counts for more than `_MOST` usual ones.

    The slope of a score is huge, or no number, where a hair decides what a clip is of. Published
    loops mask such clips (`nan_to_num`); one of them would otherwise be the whole step.
    """
    finite = torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0)
    size = finite.flatten(1).norm(dim=1)
    share = (_MOST * size.median() / size.clamp(min=1e-20)).clamp(max=1)
    return finite * share.reshape(-1, *[1] * (finite.ndim - 1))
