"""What the objectives that distil a score have in common: their task, their loop, their loss."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..loop import Losses
from .contract import Objective, Task


@dataclass(frozen=True, slots=True)
class Rollout:
    """A clip that a student has made from noise, as it was before and behind one of its steps.

    `noisy` [B, F, C, h, w] is what the step saw at `sigma`, each chunk behind the chunks `made`
    before it; all without gradients.
    """

    noisy: Tensor
    made: Tensor
    sigma: float


class ScoredTask(Task, Protocol):
    """A task with a real score, whose student makes clips of its own."""

    teacher: Any
    """The real score: a frozen network, or an oracle."""

    def prompts(self) -> Any:
        """A batch that has no clips of the data."""
        ...

    def new_score(self) -> nn.Module:
        """A network for a score that learns, which begins as a score of the data."""
        ...

    def new_critic(self) -> nn.Module:
        """A network that says for noisy clips how real they are: (noisy, sigma, batch) -> [B]."""
        ...

    def score(
        self, model: Any, batch: Any, noisy: Tensor, sigma: Tensor, *, prompted: bool = True
    ) -> Tensor:
        """The clean clips that `model` sees in whole `noisy` ones at `sigma` [B].

        Gradients go to `noisy` and to the model; without `prompted` it is told no prompt.
        """
        ...

    def roll_out(
        self,
        student: Any,
        batch: Any,
        sigmas: Sequence[float],
        *,
        deterministic: bool = False,
    ) -> Rollout:
        """A clip chunk after chunk from its own past, up to the last of `sigmas`.

        Self Forcing's loop: the estimate of the last step is each chunk's output and, through a
        clean pass, what later chunks see. Noise is fresh between steps, or stays (`deterministic`).
        """
        ...

    def last_step(self, student: Any, batch: Any, rollout: Rollout) -> Tensor:
        """The rollout's last step once more, all chunks at once, with gradients."""
        ...


class Distillation(Objective[ScoredTask]):
    """An objective that moves a student's own clips by what scores say of them."""

    needs_data = False
    """Whether it looks at clips of the data."""
    deterministic = False
    """Whether a student taught so is sampled without fresh noise between steps."""

    @property
    def sigmas(self) -> tuple[float, ...]:
        """Levels of the sampler's steps."""
        return tuple(step / 1000 for step in self.task.steps)

    @abstractmethod
    def losses(self, student: nn.Module, batch: Any, *, pixels: bool = False) -> Losses: ...

    def guided(self, batch: Any, noisy: Tensor, sigma: Tensor, guidance: float) -> Tensor:
        """The real score with guidance: x_none + w (x_told - x_none); w = 1 is none."""
        told = self.task.score(self.task.teacher, batch, noisy, sigma)
        if guidance == 1:
            return told
        untold = self.task.score(self.task.teacher, batch, noisy, sigma, prompted=False)
        return untold + guidance * (told - untold)


def random_step(count: int) -> int:
    """One of so many steps; the same for all chunks and rows of a rollout."""
    return int(torch.randint(count, ()))


def size_of(difference: Tensor) -> Tensor:
    """Mean absolute value of each clip [B, 1, ...]: DMD's normaliser (arXiv 2311.18828, eq. 8)."""
    axes = tuple(range(1, difference.ndim))
    return difference.detach().abs().mean(axes, keepdim=True).clamp(min=1e-4)


def move(
    made: Tensor, direction: Tensor, size: Tensor | float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """A loss whose step moves each element of `made` along `direction` / `size`; scalar.

    Half the mean of squares of made - sg[made + direction / size], times `weight` [B].
    """
    wanted = (made + torch.nan_to_num(direction / size)).detach()
    error = (made - wanted).square().flatten(1).mean(1)
    return 0.5 * (error if weight is None else weight.detach() * error).mean()
