"""One resumable optimisation loop: schedule, averaged weights, checkpoints, a CSV log."""

from __future__ import annotations

import copy
import csv
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor, nn

from .grow import grow_checkpoint

Losses = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """`warmup` and `steps` count optimiser steps; the rate is constant until `decay_from`.

    `decay_from` is a share of `steps`, from where the rate falls linearly to `final_rate` of
    itself. `average` is the decay of the averaged weights.
    """

    steps: int
    rate: float
    warmup: int = 50
    decay_from: float = 0.5
    final_rate: float = 0.02
    weight_decay: float = 1e-3
    average: float = 0.995
    clip: float = 1.0
    bf16: bool = True
    save_every_s: float = 60.0
    log_every: int = 50


class Trainer:
    """Optimises `model` by the losses that `compute(model, step)` returns (their sum)."""

    def __init__(self, model: nn.Module, config: LoopConfig, folder: Path, seed: int) -> None:
        self.model = model
        self.config = config
        self.folder = folder
        self.step = 0
        self.averaged = copy.deepcopy(model)
        for parameter in self.averaged.parameters():
            parameter.requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            model.parameters(), config.rate, betas=(0.9, 0.98), weight_decay=config.weight_decay
        )
        self._console = Console()
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(seed)

    @property
    def _checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    def resume(self) -> bool:
        """Go on from the last checkpoint, if there is one; words may have been added since."""
        if not self._checkpoint.exists():
            return False
        saved = grow_checkpoint(torch.load(self._checkpoint, weights_only=True), self.model)
        self.model.load_state_dict(saved["model"])
        self.averaged.load_state_dict(saved["averaged"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.step = saved["step"]
        torch.set_rng_state(saved["rng"])
        self._console.print(f"{self.folder.name}: resumed at step {self.step}")
        return True

    def save(self) -> None:
        """Write the checkpoint; the old one stays until the new one is complete."""
        part = self._checkpoint.with_suffix(".part")
        torch.save(
            {
                "model": self.model.state_dict(),
                "averaged": self.averaged.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "step": self.step,
                "rng": torch.get_rng_state(),
            },
            part,
        )
        os.replace(part, self._checkpoint)

    @property
    def progress(self) -> float:
        """Share of the steps that are done, 0..1."""
        return self.step / self.config.steps

    def _rate(self) -> float:
        c = self.config
        warm = min(1.0, (self.step + 1) / c.warmup)
        left = (1 - self.progress) / (1 - c.decay_from)
        return c.rate * warm * max(c.final_rate, min(1.0, left))

    def run(
        self,
        compute: Callable[[nn.Module, int], Losses],
        evaluate: Callable[[nn.Module], dict[str, float]],
        evaluate_every: int,
    ) -> None:
        """Train to the end; `evaluate` sees the averaged weights, before the first step as well."""
        log_every = max(1, min(self.config.log_every, self.config.steps // 5))
        if self.step == 0:
            self._evaluate(evaluate)
        sums: dict[str, float] = {}
        started = saved = time.monotonic()
        computed = time.process_time()
        first = self.step
        while self.step < self.config.steps:
            for name, value in self.optimise(compute).items():
                sums[name] = sums.get(name, 0.0) + value
            if self.step % log_every == 0:
                row = {name: value / log_every for name, value in sums.items()}
                seconds = (time.monotonic() - started) / (self.step - first)
                # what a busy machine leaves of a second does not change this one
                processor = (time.process_time() - computed) / (self.step - first)
                took = {"seconds_per_step": seconds, "processor_s_per_step": processor}
                self._log("train", row | took)
                sums = {}
            if self.step % evaluate_every == 0 or self.step == self.config.steps:
                self._evaluate(evaluate)
            if time.monotonic() - saved > self.config.save_every_s:
                self.save()
                saved = time.monotonic()
        self.save()

    def _evaluate(self, evaluate: Callable[[nn.Module], dict[str, float]]) -> None:
        with torch.no_grad():
            self._log("evaluate", evaluate(self.averaged))

    def optimise(self, compute: Callable[[nn.Module, int], Losses]) -> dict[str, float]:
        """One step; the losses it was made by."""
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.config.bf16):
            losses = compute(self.model, self.step)
        self.optimizer.zero_grad()
        torch.stack([value.float() for value in losses.values()]).sum().backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        self.optimizer.step()
        # short runs must not average in their random start
        decay = min(self.config.average, self.step / (self.step + 20))
        with torch.no_grad():
            for mean, value in zip(
                self.averaged.parameters(), self.model.parameters(), strict=True
            ):
                mean.lerp_(value, 1 - decay)
        self.step += 1
        return {name: float(value.detach()) for name, value in losses.items()}

    def _log(self, kind: str, row: dict[str, float]) -> None:
        """Append to a CSV file; a new header line goes before a row of other columns."""
        path = self.folder / f"{kind}.csv"
        header = ",".join(["step", *row])
        headers = [line for line in _lines(path) if line.startswith("step,")]
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if not headers or headers[-1] != header:
                writer.writerow(["step", *row])
            writer.writerow([self.step, *(f"{value:.6g}" for value in row.values())])
        text = "  ".join(f"{name} {value:.4g}" for name, value in row.items())
        self._console.print(f"{self.folder.name} {kind} {self.step}: {text}", highlight=False)


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []
