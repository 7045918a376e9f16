"""`rollcast bench gpu`: eight minutes that say whether all is right on a GPU, and how fast."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from .bench_output import progress
from .failure import EXIT_USAGE, Failure

if TYPE_CHECKING:
    from ...benchmarks.gpu.step_process import Outcome
    from ...benchmarks.gpu.steps import Step

_COLOUR = {"good": "green", "skipped": "yellow"}


def gpu(
    out: Annotated[
        Path, typer.Option("--json", help="The report, written after every step.")
    ] = Path("gpu.json"),
    steps: Annotated[str | None, typer.Option(help="Some of the steps, like 0-3 or 2,4.")] = None,
    half: Annotated[
        int | None, typer.Option(min=1, max=2, help="1: steps 0 to 3. 2: the others.")
    ] = None,
    device: Annotated[str, typer.Option(metavar="cuda|cuda:N", help="Which GPU.")] = "cuda",
    rehearse: Annotated[
        bool, typer.Option(help="All of it at toy sizes on the CPU; times mean nothing.")
    ] = False,
    caps: Annotated[float, typer.Option(min=0.1, help="Multiplies what a step may take.")] = 1.0,
) -> None:
    """Check and time this GPU in nine steps of a process each, in eight minutes at most.

    A step that crashes or takes too long is reported as such, and the next goes on. Steps that the
    report has already, of this machine and the same versions, are kept: run the halves one by one.
    Exits with 1 if anything is wrong.
    """
    # read when Triton is imported
    os.environ["TRITON_INTERPRET"] = "1" if rehearse else "0"
    from ...benchmarks.gpu.report import OtherReport
    from ...benchmarks.gpu.run_steps import NoGpu, Plan, run_steps
    from ...benchmarks.gpu.steps import HALVES, STEPS, parse_steps

    if steps is not None and half is not None:
        raise Failure("--steps and --half both say what to run", exit_code=EXIT_USAGE)
    try:
        chosen = parse_steps(steps) if steps else tuple(each.number for each in STEPS)
        if half is not None:
            chosen = HALVES[half]
        if not device.startswith("cuda"):
            raise ValueError(f"device {device!r}; expected cuda or cuda:N, or add --rehearse")
        plan = Plan(out, chosen, "cpu" if rehearse else device, rehearse, caps, _encoders)
        good = run_steps(plan, progress(), _show)
    except (ValueError, OtherReport) as error:
        raise Failure(str(error), exit_code=EXIT_USAGE) from error
    except NoGpu as error:
        raise Failure(
            str(error), hint="`rollcast doctor` says what is here; --rehearse runs on a CPU."
        ) from error
    except OSError as error:
        raise Failure(f"cannot write {out}: {error.strerror}") from error
    if not good:
        raise typer.Exit(1)


def _encoders() -> dict[str, Callable[..., Any] | None]:
    """The server's encoders of H.264, and None for those that do not open here."""
    from ..media.encoder import H264_CANDIDATES, Encoders, H264Encoder

    there = Encoders().h264_backends
    return {name: partial(H264Encoder, name) if name in there else None for name in H264_CANDIDATES}


def _show(step: Step, outcome: Outcome) -> None:
    console = Console(highlight=False, soft_wrap=True)
    colour = _COLOUR.get(outcome.status, "red")
    console.print(f"[{colour}]{outcome.status:>8}[/]  ", end="")
    console.print(
        f"{step.number} {step.name}, {outcome.seconds:.1f} s {outcome.why}".rstrip(), markup=False
    )
    for line in outcome.wrong[outcome.status == "wrong" :]:
        console.print(f"          {line}", markup=False)
