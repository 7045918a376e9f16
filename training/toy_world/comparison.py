"""One seed of the comparison: networks that all begin with, then method after method.

What is done is kept as a file, so a run that was ended goes on where it was: a network for each
method, and a file of rows that it was measured as.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rollcast.models.student.config import CacheConfig
from rollcast.models.toy_world.config import LAYERS, SINKS, WIDTH

from ..objectives.trajectory_matching import chain_of
from .bases import BASELINES, BASES, shaped, teach_base
from .methods import METHODS, Method
from .metrics import Reference, measure
from .network import ToyNetwork
from .oracle import Oracle
from .sinks import WINDOWS
from .sites import WAYS, Federation, federated
from .task import FLOW_SIGMAS, STEPS, ToyTask, clips_of, whole_clips
from .teaching import Budget, Taught, distil, teach_regression
from .world import CHUNKS, Prompt

SIGMAS = tuple(step / 1000 for step in STEPS)
_WHOLE_STEPS = 24


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is spent on what.

    `base_seconds` of processor time go to each of `BASES`, to each method `seconds`, or `updates`
    of its student where given, to each way of `sites` `site_updates`. `clips` are measured, and the
    end of `long_clips`, `times` as long. `real` is the real score: the oracle, or the network.
    """

    base_seconds: float = 450.0
    seconds: float | None = 120.0
    updates: int | None = None
    clips: int = 192
    long_clips: int = 48
    times: int = 10
    site_updates: int = 240
    real: str = "oracle"
    width: int = WIDTH
    layers: int = LAYERS

    def __post_init__(self) -> None:
        if self.real not in ("oracle", "network"):
            raise ValueError(f"real {self.real!r}; expected 'oracle' or 'network'")


DEFAULT = Plan()
SHORT = Plan(base_seconds=150, seconds=30, clips=96, long_clips=24, site_updates=60)


class Comparison:
    """Folder `out` of one seed."""

    def __init__(self, out: Path, seed: int, plan: Plan = DEFAULT) -> None:
        self.out, self.seed, self.plan = out / f"seed-{seed}", seed, plan
        self.out.mkdir(parents=True, exist_ok=True)
        self._keep_plan()
        self._reference: Reference | None = None

    def _keep_plan(self) -> None:
        """One folder has rows of one plan. Raises ValueError for another."""
        path = self.out / "plan.json"
        if not path.exists():
            path.write_text(json.dumps(asdict(self.plan), indent=1))
        kept = Plan(**json.loads(path.read_text()))
        if kept != self.plan:
            raise ValueError(f"{self.out} is of another plan, {kept}; choose another folder")

    def run(self, name: str) -> None:
        """Teach and measure what has this name, unless that is done.

        It is one of `BASES`, `BASELINES`, `METHODS` or `ASIDE`.
        """
        if self._rows_of(name).exists():
            return
        taught = name in BASES and (self.out / f"{name}.pt").exists()
        torch.manual_seed(1000 * self.seed + _number(name))
        if name in BASES and not taught:
            self._base(name)
        if name != "small-flow":
            self._write(name, self._measured(name))

    def rows(self, names: Sequence[str] = (*BASELINES, *METHODS)) -> list[dict[str, Any]]:
        """All that was measured so far of these."""
        done = [self._rows_of(name) for name in names]
        return [row for path in done if path.exists() for row in json.loads(path.read_text())]

    def network(self, name: str) -> ToyNetwork:
        """One of `BASES`, or the student of a method that is one network; taught."""
        network = shaped(name, self.plan.width, self.plan.layers)
        network.load_state_dict(torch.load(self.out / f"{name}.pt", weights_only=True))
        return network.requires_grad_(False)

    def _base(self, name: str) -> None:
        network = shaped(name, self.plan.width, self.plan.layers)
        unfinished = self.out / f"{name}.unfinished"
        taught = teach_base(name, network, self.plan.base_seconds, self.network, unfinished)
        self._save(name, taught)
        unfinished.unlink(missing_ok=True)

    def _save(self, name: str, taught: Taught) -> None:
        part = self.out / f"{name}.part"
        torch.save(taught.network.state_dict(), part)
        os.replace(part, self.out / f"{name}.pt")

    def _task(self, method: Method) -> ToyTask:
        """Where a network is the real score, what is learnt of the student begins as it."""
        if self.plan.real == "oracle":
            return ToyTask(Oracle(), self.network("scorer"), tells_steps=method.told)
        teacher = self.network("teacher")
        return ToyTask(teacher, teacher, tells_steps=method.told)

    def _measured(self, name: str) -> list[dict[str, Any]]:
        if name == "oracle":
            return [self._whole("oracle", Oracle(), _WHOLE_STEPS)]
        if name in ("scorer", "teacher"):
            network = self.network(name)
            rows = [self._whole(name, network, _WHOLE_STEPS)]
            return [*rows, self._whole(name, network, _WHOLE_STEPS, guidance=2.0)]
        if name in ("flow", "fine-flow"):
            return self._flow_rows(name)
        if name in ASIDE:
            return self._sink_rows() if name == "sinks" else self._site_rows()
        if name == "regression":
            student = self.network("flow").requires_grad_(True)
            taught = teach_regression(student, self._budget())
            return self._streamed("regression", taught, SIGMAS[:1], deterministic=False)
        return self._method_rows(name, METHODS[name])

    def _budget(self) -> Budget:
        return Budget(self.plan.seconds, self.plan.updates)

    def _flow_rows(self, name: str) -> list[dict[str, Any]]:
        """Many even steps without fresh noise, and the few of the others with it."""
        taught = Taught(self.network(name), 0, 0.0)
        rows = self._streamed(name, taught, FLOW_SIGMAS, deterministic=True)
        for count in (4, 2):
            rows += self._streamed(name, taught, chain_of(SIGMAS, count), deterministic=False)
        return rows

    def _method_rows(self, name: str, method: Method) -> list[dict[str, Any]]:
        student = method.student(self.network).requires_grad_(True)
        objective = method.objective(self._task(method))
        taught = distil(student, objective, self._budget())
        self._save(name, taught)
        rows: list[dict[str, Any]] = []
        for count in method.counts:
            if method.form == "whole":
                rows.append(self._whole(name, taught.network, count, taught))
                continue
            chain = chain_of(SIGMAS, count)
            for window in method.windows or ("",):
                made = self._streamed(
                    name,
                    taught,
                    chain,
                    deterministic=method.deterministic,
                    cache=WINDOWS.get(window),
                )
                rows += [row | {"window": window} for row in made] if window else made
        for row in rows:
            row |= getattr(objective, "lag", {})
        return rows

    def _site_rows(self) -> list[dict[str, Any]]:
        updates = self.plan.site_updates
        plan = Federation(updates=updates, clip_updates=updates)
        return [federated(self.network("flow"), plan, way, self.seed) for way in WAYS]

    def _sink_rows(self) -> list[dict[str, Any]]:
        """Drift and copying at the end of long clips, for each of `SINKS`."""
        rows = []
        for name, cache in SINKS.items():
            torch.manual_seed(self.seed)
            prompt = Prompt.each(self.plan.long_clips)
            chunks = self.plan.times * CHUNKS
            made = clips_of(self.network(SINKS_OF), prompt, SIGMAS, chunks, cache=cache)
            found = measure(made, prompt, first=chunks - CHUNKS)
            rows.append({"sink": name, "seed": self.seed} | found)
        return rows

    def _streamed(
        self,
        name: str,
        taught: Taught,
        sigmas: Sequence[float],
        *,
        deterministic: bool,
        cache: CacheConfig | None = None,
    ) -> list[dict[str, Any]]:
        """As long as clips of the training, and the end of long ones, with that cache.

        `chunk_ms` is a chunk's processor time among so many at once.
        """
        rows = []
        for times, count in ((1, self.plan.clips), (self.plan.times, self.plan.long_clips)):
            torch.manual_seed(self.seed)
            prompt = Prompt.each(count)
            chunks = times * CHUNKS
            begin = time.process_time()
            clips = clips_of(
                taught.network, prompt, sigmas, chunks, deterministic=deterministic, cache=cache
            )
            cost = {"chunk_ms": 1000 * (time.process_time() - begin) / (count * chunks)}
            rows.append(self._row(name, clips, prompt, len(sigmas), times, taught) | cost)
        return rows

    def _whole(
        self, name: str, score: Any, steps: int, taught: Taught | None = None, guidance: float = 1.0
    ) -> dict[str, Any]:
        torch.manual_seed(self.seed)
        prompt = Prompt.each(self.plan.clips)
        clips = whole_clips(score, prompt, steps, guidance=guidance)
        return self._row(name, clips, prompt, steps, 1, taught) | {"guidance": guidance}

    def _row(
        self,
        name: str,
        clips: Tensor,
        prompt: Prompt,
        steps: int,
        times: int,
        taught: Taught | None,
    ) -> dict[str, Any]:
        torch.save(clips[:8, -CHUNKS:].half(), self.out / f"{name}-{steps}-{times}x.clips.pt")
        row: dict[str, Any] = {"method": name, "seed": self.seed, "steps": steps, "times": times}
        if taught is not None:
            row |= {"updates": taught.updates, "seconds": taught.seconds}
        first = (times - 1) * CHUNKS
        self._reference = self._reference or Reference()
        return row | measure(clips, prompt, self._reference, first=first)

    def _rows_of(self, name: str) -> Path:
        return self.out / f"{name}.json"

    def _write(self, name: str, rows: list[dict[str, Any]]) -> None:
        part = self._rows_of(name).with_suffix(".part")
        part.write_text(json.dumps(rows, indent=1))
        os.replace(part, self._rows_of(name))


SINKS_OF = "dmd2"
"""The student that sinks are compared on."""
ASIDE = ("sinks", "sites")
"""What is compared beside methods, each in a table of its own."""


def _number(name: str) -> int:
    """A number of its own for each name, the same on every machine."""
    return sum(k * letter for k, letter in enumerate(name.encode(), 1)) % 997
