"""TDM, trajectory distribution matching (arXiv 2503.06674): each step is matched where it ends.

The student is deterministic. Its step from level k leads to the trajectory's point at level m, with
the noise that its own estimate implies; the point is brought to a level between m and k and moved
there along R_w - F (equations 5 to 9). Levels of different steps do not overlap, so one fake score
serves all. It learns the step's clean estimate, weighted by how likely the noisy point is as a
noisy version of that estimate: exp(-mean noise^2 / 2), tempered by the mean as in the published
code. `exact_target` takes Phased DMD's unbiased target instead.

Two things of the published code are left away, with which a student of the toy world is lost in a
hundred updates: its weight min(SNR, 5), of which the first steps' levels get next to nothing (their
SNR is below .005), so the fake score never learns them; and the pseudo-Huber loss of single
elements, by which an empty background's noise moves it as far as the sprite. The loss is that of
whole clips, as the paper's constant (.00054 times the root of their size) means it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..loop import Losses
from .distillation import Distillation, Rollout, random_step, size_of
from .fake_score import FakeScore, lag
from .levels import levels_between, noise_in, raised, raising, stepped
from .phased_dmd import clean_target

_HUBER = 1e-3
_ABOVE, _BELOW = 0.01, 0.005
_LOW, _HIGH = 0.02, 0.98


class TrajectoryMatching(Distillation):
    """`lengths` are the numbers of steps that it is taught to be sampled with, drawn evenly.

    With `told` both the student and its fake score are told the number, as the task does it
    (`asked`): TDM-unify. The first step of one is a whole clip, that of four is hardly more than
    the mean of all clips; a network that is not told has one answer for both.
    """

    deterministic = True

    def __init__(
        self,
        task: Any,
        *,
        guidance: float = 1.0,
        fake_updates: int = 3,
        fake_rate: float = 2e-3,
        lengths: Sequence[int] = (),
        exact_target: bool = False,
        told: bool = False,
    ) -> None:
        super().__init__(task)
        self._asked = task.asked if told else None
        self.guidance, self._exact = guidance, exact_target
        self._fake_updates, self._fake_rate = fake_updates, fake_rate
        self._lengths = tuple(lengths) or (len(self.sigmas),)
        self.lag: dict[str, float] = {}

    def begin(self, student: nn.Module) -> None:
        self.fake = FakeScore(self.task, self._fake_rate)

    def losses(self, student: nn.Module, batch: Any, *, pixels: bool = False) -> Losses:
        chain = chain_of(self.sigmas, self._lengths[random_step(len(self._lengths))])
        if self._asked is not None:
            batch = self._asked(batch, len(chain))
        rollout, end = self._rollout(student, batch, chain)
        for _ in range(self._fake_updates):
            self._learn(batch, rollout, end)
        made = self.task.last_step(student, batch, rollout)
        return {"matching": self.matching(made, batch, rollout, end)}

    def _rollout(
        self, student: nn.Module, batch: Any, chain: Sequence[float]
    ) -> tuple[Rollout, float]:
        """A rollout up to a random step of a chain, and the level that the step leads to."""
        step = random_step(len(chain))
        rollout = self.task.roll_out(student, batch, chain[: step + 1], deterministic=True)
        return rollout, (*chain, 0.0)[step + 1]

    def _levels(self, count: int, begin: float, end: float) -> Tensor:
        return levels_between(count, max(end + _ABOVE, _LOW), min(begin - _BELOW, _HIGH))

    def _learn(self, batch: Any, rollout: Rollout, end: float) -> None:
        point = stepped(rollout.noisy, rollout.made, rollout.sigma, end, deterministic=True)
        sigma = self._levels(len(point), rollout.sigma, end)
        noise = torch.randn_like(point)
        noisy = raised(point, end, sigma, noise)
        if self._exact:
            target, weight = clean_target(point, end, sigma, noise), raising(end, sigma)[1] ** 2
        else:
            target = rollout.made
            weight = likeness(noisy, rollout.made, sigma, noise)
        self.fake.learn(batch, noisy, sigma, target, weight)

    def matching(self, made: Tensor, batch: Any, rollout: Rollout, end: float) -> Tensor:
        """The loss that moves the step's estimates [B, F, C, h, w]: pseudo-Huber, scalar."""
        with torch.no_grad():
            point = stepped(rollout.noisy, made, rollout.sigma, end, deterministic=True)
            sigma = self._levels(len(point), rollout.sigma, end)
            noisy = raised(point, end, sigma)
            real = self.guided(batch, noisy, sigma, self.guidance)
            fake = self.fake(batch, noisy, sigma)
            self.lag = lag(real, fake, made)
            wanted = made + torch.nan_to_num((real - fake) / size_of(made - real))
        apart = (made - wanted).square().flatten(1).mean(1)
        return ((apart + _HUBER**2).sqrt() - _HUBER).mean()


def chain_of(sigmas: Sequence[float], count: int) -> tuple[float, ...]:
    """`count` of the steps, evenly, the first among them."""
    return tuple(sigmas[k * len(sigmas) // count] for k in range(count))


def likeness(noisy: Tensor, sample: Tensor, sigma: Tensor, noise: Tensor) -> Tensor:
    """Importance [B] of `noisy` as a noisy version of `sample`, over that of fresh noise."""
    implied = noise_in(noisy, sample, sigma).square().flatten(1).mean(1)
    return torch.exp(-0.5 * (implied - noise.square().flatten(1).mean(1)))
