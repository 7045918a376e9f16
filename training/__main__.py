"""From nothing to weights: `python -m training`, resumable at any point.

Runs, each as its own process: data; autoencoder, and beside it viseme network and measuring
networks; student; decoder on the student's samples; export; a sheet to look at. A stage that is
complete is skipped by its own checkpoint. `--steps student=1800 polish=350` makes a shorter run;
`--preset smoke` does all of it in two minutes on a few clips: that it learns is tested, what it
makes is not worth looking at.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rollcast.models.pocket.model import ASSETS


@dataclass(frozen=True)
class Run:
    """One go from nothing to weights: the data set's preset, folders, and steps.

    A stage that `steps` does not name makes as many as are its own.
    """

    preset: str
    steps: dict[str, int]
    data: Path
    parts: Path
    assets: Path


SMOKE_STILLS = 2
SMOKE_STEPS = {"autoencoder": 30, "visemes": 60, "measures": 30, "student": 20, "polish": 6}

# stages of a group need nothing of each other: its lanes run side by side
GROUPS: tuple[tuple[tuple[str, ...], ...], ...] = (
    (("data",),),
    (("autoencoder",), ("visemes", "measures")),
    (("student",),),
    (("polish",),),
    (("export",),),
    (("sheet",),),
)
STAGES = tuple(stage for group in GROUPS for lane in group for stage in lane)


def command(run: Run, stage: str, threads: int) -> list[str]:
    """The command line of a stage."""
    data = ["--data", str(run.data)]
    if stage == "data":
        jobs = ["--preset", run.preset, "--out", str(run.data), "--jobs", str(threads)]
        return [sys.executable, "-m", "training.data", "render", *jobs]
    start = [sys.executable, "-m", f"training.{stage}", *data]
    if stage == "export":
        return [*start, "--parts", str(run.parts), "--out", str(run.assets)]
    start += ["--threads", str(threads)]
    if stage == "sheet":
        return [*start, "--out", str(run.parts), "--assets", str(run.assets)]
    start += ["--out", str(run.parts / stage)]
    if stage in run.steps:
        start += ["--steps", str(run.steps[stage])]
    if stage == "measures" and run.preset == "smoke":
        start += ["--stills", str(SMOKE_STILLS)]
    return [*start, "--parts", str(run.parts)] if stage in ("student", "polish") else start


def train(run: Run, first: str, threads: int) -> None:
    """Run all stages from `first` on. Raises SystemExit with the stage that failed."""
    wanted = STAGES[STAGES.index(first) :]
    for group in GROUPS:
        lanes = [[stage for stage in lane if stage in wanted] for lane in group]
        share = max(1, threads // len(lanes))
        with ThreadPoolExecutor(len(lanes)) as pool:
            for failed in pool.map(lambda lane: _run_lane(run, lane, share), lanes):  # noqa: B023
                if failed:
                    sys.exit(f"stage {failed!r} failed; mend it and run again with --from {failed}")


def _run_lane(run: Run, stages: Sequence[str], threads: int) -> str | None:
    """The stage that failed, if one did."""
    for stage in stages:
        if subprocess.run(command(run, stage, threads), check=False).returncode:
            return stage
    return None


def stage_steps(text: str) -> tuple[str, int]:
    """A stage and its steps, from text like "student=1800". Raises ArgumentTypeError."""
    stage, _, number = text.partition("=")
    if stage not in SMOKE_STEPS or not number.isdecimal() or int(number) < 1:
        known = ", ".join(SMOKE_STEPS)
        raise argparse.ArgumentTypeError(f"{text!r}: write STAGE=N, with a stage of {known}")
    return stage, int(number)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("--from", dest="first", choices=STAGES, default="data")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads in all")
    parser.add_argument("--preset", choices=("full", "smoke"), default="full")
    parser.add_argument(
        "--steps",
        type=stage_steps,
        nargs="+",
        default=(),
        metavar="STAGE=N",
        help="its own are made else",
    )
    parser.add_argument("--folder", type=Path, default=Path("var"), help="data and checkpoints")
    args = parser.parse_args()
    is_full = args.preset == "full"
    run = Run(
        args.preset,
        ({} if is_full else SMOKE_STEPS) | dict(args.steps),
        args.folder / "data",
        args.folder / "train",
        ASSETS if is_full else args.folder / "assets",
    )
    train(run, args.first, args.threads)


if __name__ == "__main__":
    main()
