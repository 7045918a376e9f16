"""A task whose scores are known in closed form: every value of a clip is normal."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from training.objectives.distillation import Rollout
from training.objectives.experts import Experts, network_at
from training.objectives.levels import along, stepped

SHAPE = (2, 4, 3, 3)
ROWS = 32


class Gaussian(nn.Module):
    """The exact score of clips whose values are normal, with a mean and a spread that may learn."""

    def __init__(self, mean: float, spread: float) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.tensor(mean))
        self.log_spread = nn.Parameter(torch.tensor(spread).log())

    def forward(self, noisy: Tensor, sigma: Tensor) -> Tensor:
        s = along(sigma, noisy)
        power = (2 * self.log_spread).exp()
        gain = (1 - s) * power / ((1 - s) ** 2 * power + s**2)
        return self.mean + gain * (noisy - (1 - s) * self.mean)


class AffineStudent(nn.Module):
    """x0 = scale * noisy + shift, with numbers of its own for each level."""

    def __init__(self, sigmas: Sequence[float], scale: float = 0.5, shift: float = 0.0) -> None:
        super().__init__()
        self.sigmas = tuple(sigmas)
        self.scale = nn.Parameter(torch.full((len(sigmas),), scale))
        self.shift = nn.Parameter(torch.full((len(sigmas),), shift))

    def forward(self, noisy: Tensor, sigma: Tensor) -> Tensor:
        k = int((torch.tensor(self.sigmas) - sigma.flatten()[0]).abs().argmin())
        return self.scale[k] * noisy + self.shift[k]


class FlowMap(nn.Module):
    """Where the flow of normal clips ends, from any level: the perfect student."""

    def __init__(self, mean: float, spread: float) -> None:
        super().__init__()
        self.mean, self.spread = mean, spread
        self.off = nn.Parameter(torch.zeros(()))

    def forward(self, noisy: Tensor, sigma: Tensor) -> Tensor:
        s = along(sigma, noisy)
        size = ((1 - s) ** 2 * self.spread**2 + s**2).sqrt()
        return self.mean + self.off + self.spread * (noisy - (1 - s) * self.mean) / size


class Critic(nn.Module):
    """A linear one: the mean of a clip, times a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(1.0))

    def forward(self, noisy: Tensor, sigma: Tensor, batch: Any) -> Tensor:
        return self.weight * noisy.flatten(1).mean(1)


class GaussianTask:
    """Data of mean 1.5 and spread 0.6; without a prompt mean 0.5 and spread 1."""

    def __init__(self, steps: Sequence[float] = (1000.0,)) -> None:
        self.steps = tuple(steps)
        self.teacher = Gaussian(1.5, 0.6).requires_grad_(False)
        self.untold = Gaussian(0.5, 1.0).requires_grad_(False)
        self.has_data = True
        self.calls: list[tuple[Any, bool, Tensor]] = []

    def draw(self) -> Any:
        assert self.has_data, "there is no data"
        return SimpleNamespace(latents=1.5 + 0.6 * torch.randn(ROWS, *SHAPE))

    def prompts(self) -> Any:
        return SimpleNamespace(latents=None)

    def new_score(self) -> nn.Module:
        return Gaussian(1.5, 0.6)

    def new_critic(self) -> nn.Module:
        return Critic()

    def score(
        self, model: Any, batch: Any, noisy: Tensor, sigma: Tensor, *, prompted: bool = True
    ) -> Tensor:
        self.calls.append((model, prompted, sigma))
        if model is self.teacher and not prompted:
            return self.untold(noisy, sigma)
        return model(noisy, sigma)

    def roll_out(
        self, student: Any, batch: Any, sigmas: Sequence[float], *, deterministic: bool = False
    ) -> Rollout:
        with torch.no_grad():
            x = torch.randn(ROWS, *SHAPE)
            for now, then in zip(sigmas, (*sigmas[1:], None), strict=True):
                made = network_at(student, now)(x, torch.tensor([now]))
                if then is not None:
                    x = stepped(x, made, now, then, deterministic=deterministic)
        return Rollout(x, made, sigmas[-1])

    def last_step(self, student: Any, batch: Any, rollout: Rollout) -> Tensor:
        return network_at(student, rollout.sigma)(rollout.noisy, torch.tensor([rollout.sigma]))

    def reward(self, batch: Any, made: Tensor) -> Tensor:
        return made.flatten(1).mean(1)

    def routed(self, part: int, parts: int) -> GaussianTask:
        task = GaussianTask(self.steps)
        task.teacher = Gaussian(float(part), 0.6).requires_grad_(False)
        return task


@pytest.fixture
def normal() -> SimpleNamespace:
    """The task and its networks."""
    torch.manual_seed(0)
    return SimpleNamespace(
        Task=GaussianTask,
        Score=Gaussian,
        Student=AffineStudent,
        FlowMap=FlowMap,
        Critic=Critic,
        Experts=Experts,
        shape=(ROWS, *SHAPE),
    )
