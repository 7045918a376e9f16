"""Teaching networks of the toy world within a budget of processor time or of updates."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..objectives.distillation import Distillation
from ..objectives.levels import shifted
from .law import NO_MOOD, NO_PALETTE
from .network import ToyNetwork, averaged_into
from .task import ROWS
from .world import Prompt, sample

_NO_PROMPT = 0.12
_LEAST_LEVEL = 0.3
_SHIFT = 3.0
_KEPT_EVERY = 20.0
_DECISIVE, _MOST = (0.65, 0.95), 0.6
"""Levels at which noise leaves open where the sprite goes, but not where it is: a network taught at
all alike is farthest from the exact score there. So many of them are drawn there."""
_MUON_RATE = 0.05


@dataclass
class Budget:
    """How long a teaching may go on: `seconds` of this process's time, or `updates`, or both.

    What the time is spent on beside the student's own steps counts as well.
    """

    seconds: float | None = None
    updates: int | None = None

    def __post_init__(self) -> None:
        if self.seconds is None and self.updates is None:
            raise ValueError("a budget needs seconds or updates")
        self.done = 0
        self._begin = time.process_time()

    def go_on(self, done: int, used: float) -> None:
        """Count what an earlier process has done of it."""
        self.done = done
        self._begin = time.process_time() - used

    @property
    def used(self) -> float:
        """Seconds of processor time so far."""
        return time.process_time() - self._begin

    @property
    def progress(self) -> float:
        """Share of it that is used up, 0 to 1 and more."""
        shares = []
        if self.seconds is not None:
            shares.append(self.used / self.seconds)
        if self.updates is not None:
            shares.append(self.done / self.updates)
        return max(shares)


@dataclass(frozen=True, slots=True)
class Taught:
    """A network's averaged weights, and what they took."""

    network: Any
    updates: int
    seconds: float


def teach_flow(
    network: ToyNetwork,
    budget: Budget,
    *,
    causal: bool,
    rate: float = 2e-3,
    average: float = 0.998,
    decisive: bool = False,
    draw: Callable[[], Any] | None = None,
    unfinished: Path | None = None,
) -> Taught:
    """Flow matching on the data: of whole clips, or `causal`, chunks behind clean ones.

    `draw` gives a batch (None: one of the world's own). Prompts are left out at times, so that
    guidance has something to go from. `decisive`: most levels are drawn from those where moves are
    decided, and matrices of blocks learn by Muon. The file `unfinished` is where it is kept now and
    then, and from where it goes on.
    """
    optimizers = _decisive(network, rate) if decisive else _adam(network.parameters(), rate)

    def loss() -> Tensor:
        drawn = sample(Prompt.drawn(ROWS)) if draw is None else draw()
        prompt = _with_gaps(drawn.prompt)
        shape = drawn.latents.shape[:2] if causal else drawn.latents.shape[:1]
        sigma = shifted(torch.rand(shape), _SHIFT).clamp(min=1e-3)
        if decisive:
            low, high = _DECISIVE
            most = low + (high - low) * torch.rand(shape)
            sigma = torch.where(torch.rand(shape) < _MOST, most, sigma)
        level = sigma.reshape(*shape, *[1] * (5 - len(shape)))
        noisy = (1 - level) * drawn.latents + level * torch.randn_like(drawn.latents)
        if causal:
            made = network.behind(drawn.latents, noisy, sigma, prompt)
        else:
            made = network(noisy, sigma, prompt)
        return ((made - drawn.latents) / level.clamp(min=_LEAST_LEVEL)).square().mean()

    state = None if unfinished is None else _Unfinished(unfinished)
    return _optimise(network, optimizers, loss, budget, 0.5, average, warm=100, state=state)


def _adam(parameters: Iterable[nn.Parameter], rate: float) -> list[torch.optim.Optimizer]:
    return [torch.optim.AdamW(parameters, rate, betas=(0.9, 0.98), weight_decay=0.01)]


def _decisive(network: ToyNetwork, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of blocks, AdamW for all else."""
    matrices = {
        name: p for name, p in network.named_parameters() if p.ndim == 2 and ".blocks." in name
    }
    others = [p for name, p in network.named_parameters() if name not in matrices]
    muon = torch.optim.Muon(list(matrices.values()), _MUON_RATE, weight_decay=0.01)
    return [muon, *_adam(others, rate)]


def teach_regression(network: ToyNetwork, budget: Budget, *, rate: float = 1e-3) -> Taught:
    """One step from pure noise to the truth, behind the truth: chance is averaged away."""
    optimizers = [torch.optim.AdamW(network.parameters(), rate, betas=(0.9, 0.98))]

    def loss() -> Tensor:
        drawn = sample(Prompt.drawn(ROWS))
        noise, top = torch.randn_like(drawn.latents), torch.ones(ROWS)
        made = network.behind(drawn.latents, noise, top, drawn.prompt)
        return (made - drawn.latents).square().mean()

    return _optimise(network, optimizers, loss, budget, 0.5, 0.98, warm=20)


def distil(
    student: nn.Module,
    objective: Distillation,
    budget: Budget,
    *,
    rate: float = 3e-4,
    average: float = 0.98,
) -> Taught:
    """Teach a student by an objective; the objective's own networks learn on the same budget."""
    objective.begin(student)
    task = objective.task
    optimizers = [
        torch.optim.AdamW(student.parameters(), rate, betas=(0.0, 0.99), weight_decay=0.0)
    ]

    def loss() -> Tensor:
        batch = task.draw() if objective.needs_data else task.prompts()
        losses = objective.losses(student, batch)
        return torch.stack(list(losses.values())).sum()

    return _optimise(student, optimizers, loss, budget, 0.7, average, warm=20)


class _Unfinished:
    """A teaching under way, in a file that is written every `_KEPT_EVERY` seconds of its time."""

    def __init__(self, path: Path) -> None:
        self._path, self._kept = path, 0.0

    def load(self, parts: dict[str, Any], budget: Budget) -> None:
        """Go on from the file, if there is one."""
        if not self._path.exists():
            return
        kept = torch.load(self._path, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(kept[name])
        torch.set_rng_state(kept["random"])
        self._kept = kept["used"]
        budget.go_on(kept["done"], kept["used"])

    def keep(self, parts: dict[str, Any], budget: Budget) -> None:
        """Write the file, if that is due."""
        if budget.used < self._kept + _KEPT_EVERY:
            return
        self._kept = budget.used
        kept = {name: part.state_dict() for name, part in parts.items()}
        new = self._path.with_suffix(".new")
        about = {"random": torch.get_rng_state(), "done": budget.done, "used": budget.used}
        torch.save(kept | about, new)
        os.replace(new, self._path)


def _optimise(
    network: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    loss: Any,
    budget: Budget,
    decay_from: float,
    average: float,
    *,
    warm: int,
    state: _Unfinished | None = None,
) -> Taught:
    mean = copy.deepcopy(network).requires_grad_(False)
    parts: dict[str, Any] = {"network": network, "mean": mean}
    rates = []
    for k, optimizer in enumerate(optimizers):
        parts["optimizer" + (str(k) if k else "")] = optimizer
        rates.append(float(optimizer.param_groups[0]["lr"]))
    if state is not None:
        state.load(parts, budget)
    while budget.progress < 1:
        left = (1 - budget.progress) / (1 - decay_from)
        for optimizer, rate in zip(optimizers, rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * min(1.0, (budget.done + 1) / warm) * max(0.05, min(1.0, left))
        value = loss()
        network.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        budget.done += 1
        averaged_into(mean, network, min(average, budget.done / (budget.done + 20)))
        if state is not None:
            state.keep(parts, budget)
    return Taught(mean, budget.done, budget.used)


def _with_gaps(prompt: Prompt) -> Prompt:
    """The prompts, some of which say less or nothing."""
    count = len(prompt)
    none = torch.rand(count) < _NO_PROMPT
    gaps = [none | (torch.rand(count) < _NO_PROMPT / 2) for _ in range(2)]
    return Prompt(
        torch.where(gaps[0], NO_MOOD, prompt.mood),
        torch.where(gaps[1], NO_PALETTE, prompt.palette),
    )
