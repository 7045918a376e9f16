"""Every objective in the toy world, on equal budgets: `python -m training.compare`.

All begin with the same networks of a seed and get the same processor time (`--seconds`), in which
also their own networks learn, or teach their student equally often (`--updates`). What is done is
kept in `--out`, so a run that was ended goes on. The budgets of a seed add up to 105 minutes of two
cores by default and to 11 with `--short`, before what is measured. Writes a table (CSV), plots,
clips.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import torch

from .toy_world.comparison import BASELINES, DEFAULT, SHORT, Comparison, Plan, sink_rows
from .toy_world.methods import METHODS
from .toy_world.table import summary, write_clips, write_plots, write_table

_NAMES = (*BASELINES, *METHODS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("var/compare"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--methods", nargs="+", choices=_NAMES, default=list(_NAMES))
    parser.add_argument("--short", action="store_true", help="a few minutes a seed, to look at")
    parser.add_argument("--seconds", type=float, help="processor time of each method")
    parser.add_argument("--updates", type=int, help="updates of each student, in place of time")
    parser.add_argument("--real", choices=("oracle", "network"), default="oracle")
    parser.add_argument("--jobs", type=int, default=2, help="processes, of one thread each")
    args = parser.parse_args()
    plan = replace(SHORT if args.short else DEFAULT, real=args.real)
    if args.seconds:
        plan = replace(plan, seconds=args.seconds)
    if args.updates:
        plan = replace(plan, seconds=None, updates=args.updates)
    for seed in args.seeds:
        compare(args.out, seed, plan, args.methods, args.jobs)
    report(args.out, args.seeds, plan)


def compare(out: Path, seed: int, plan: Plan, names: Sequence[str], jobs: int) -> None:
    """Teach and measure what is not yet; first what others begin with."""
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for group in (("scorer", "small-flow"), ("flow",), names):
            list(pool.map(_run, [(out, seed, plan, name) for name in group]))


def _run(told: tuple[Path, int, Plan, str]) -> None:
    out, seed, plan, name = told
    torch.set_num_threads(1)
    Comparison(out, seed, plan).run(name)


def report(out: Path, seeds: Sequence[int], plan: Plan) -> None:
    """Table, plots and clips of what is there."""
    runs = [Comparison(out, seed, plan) for seed in seeds]
    rows = [row for run in runs for row in run.rows()]
    write_table(out / "compare.csv", rows)
    write_plots(out / "compare.png", summary(rows))
    write_clips(out / "clips.png", runs[0].out)
    sinks = [row for run in runs for row in sink_rows(run.network("flow"), plan, run.seed)]
    write_table(out / "sinks.csv", sinks)


if __name__ == "__main__":
    main()
