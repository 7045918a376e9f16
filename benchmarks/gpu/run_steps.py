"""Runs steps of `rollcast bench gpu` one after another and keeps the report."""

from __future__ import annotations

import gc
import importlib
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .report import Report
from .step_process import NotHere, Outcome, Send, run_apart
from .steps import STEPS, Step

_PACKAGES = (
    "rollcast", "torch", "triton", "numpy", "av", "xformers", "flash-attn-3", "flash-attn-4",
)  # fmt: skip
_LOOK_S = 60.0

Work = Callable[[Send], None]


class NoGpu(Exception):
    """There is none, or not this one; the message says what was looked for."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`steps` by their numbers, on `device`; caps are multiplied by `caps`.

    `encoders` is that of `Bench`.
    """

    out: Path
    steps: Sequence[int]
    device: str
    rehearse: bool = False
    caps: float = 1.0
    encoders: Callable[[], Mapping[str, Callable[..., Any] | None]] | None = None


def run_steps(
    plan: Plan,
    say: Callable[[str], None],
    show: Callable[[Step, Outcome], None],
    *,
    work_of: Callable[[Step, Plan], Work] | None = None,
) -> bool:
    """Whether every step was good, or skipped for what is not here.

    `say` hears what begins, `show` how it ended. The report is on disk, whole, after each result.
    Raises NoGpu, OtherReport, and OSError where it cannot be written.
    """
    warm_up()
    report = Report(plan.out, _machine(plan), plan.rehearse)
    report.take_over()
    report.write()
    good = True
    for step in (STEPS[number] for number in plan.steps):
        say(f"step {step.number}: {step.name}")

        def tell(outcome: Outcome, step: Step = step) -> None:
            report.steps[str(step.number)] = _row(step, outcome) | {"status": "under way"}
            report.write()

        work = (work_of or step_work)(step, plan)
        outcome = run_apart(work, plan.caps * step.cap_s, tell)
        report.steps[str(step.number)] = _row(step, outcome)
        report.write()
        show(step, outcome)
        good = good and outcome.status in ("good", "skipped")
    return good


def warm_up() -> None:
    """Import what steps need, once for all of them; nothing here may touch CUDA."""
    for step in STEPS:
        importlib.import_module(f".{step.module}", __package__)
    # pages that nobody collects stay shared with the processes that are forked
    gc.freeze()


def step_work(step: Step, plan: Plan) -> Work:
    """What the process of a step does."""
    return partial(_work, step.module, plan)


def _work(module: str, plan: Plan, send: Send) -> None:
    import torch

    from .bench import Bench

    device = torch.device(plan.device)
    if plan.rehearse:
        # nothing is large enough to be shared out
        torch.set_num_threads(1)
    if device.index is not None:
        torch.cuda.set_device(device)
    bench = Bench(device, plan.rehearse, send, plan.encoders)
    importlib.import_module(f".{module}", __package__).run(bench)


def _machine(plan: Plan) -> dict[str, Any]:
    """What the results depend on; asked in a process of its own, because it sets up CUDA."""
    outcome = run_apart(partial(_look, plan), _LOOK_S)
    if outcome.status != "good":
        raise NoGpu(outcome.why)
    return outcome.results["machine"]


def _look(plan: Plan, send: Send) -> None:
    import torch

    found: dict[str, Any] = {"device": "cpu", "python": platform.python_version()}
    if not plan.rehearse:
        if not torch.cuda.is_available():
            raise NotHere("no CUDA device is here")
        device = torch.device(plan.device)
        if device.index is not None and device.index >= torch.cuda.device_count():
            raise NotHere(f"{plan.device}: there are {torch.cuda.device_count()} GPUs")
        about = torch.cuda.get_device_properties(device)
        found |= {
            "device": about.name,
            "capability": [about.major, about.minor],
            "memory_gb": round(about.total_memory / 1e9, 1),
            "multiprocessors": about.multi_processor_count,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
    found["packages"] = {name: there for name in _PACKAGES if (there := _version(name))}
    send({"note": "machine", "value": found})


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _row(step: Step, outcome: Outcome) -> dict[str, Any]:
    row: dict[str, Any] = {"name": step.name, "status": outcome.status}
    row["seconds"] = round(outcome.seconds, 2)
    row["cap_s"] = step.cap_s
    for name in ("why", "wrong", "results", "log"):
        if value := getattr(outcome, name):
            row[name] = value
    return row
