"""Every objective in the toy world, on equal budgets: `python -m training.compare`.

All begin with the same networks of a seed and get the same processor time (`--seconds`), in which
also their own networks learn, or teach their student equally often (`--updates`). What is done is
kept in `--out`, so a run that was ended goes on. The budgets of a seed add up to 112 minutes of one
core by default and to 31 with `--short`, before what is measured. Writes tables, plots, clips;
with `--tables-only` of what a folder has, and teaches nothing. `--page` puts the tables into a page
of the documentation that has marks for them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from .toy_world.bases import BASELINES, BASES, bases_of
from .toy_world.comparison import ASIDE, DEFAULT, SHORT, SINKS_OF, Comparison, Plan
from .toy_world.methods import METHODS
from .toy_world.metrics import Reference, floor
from .toy_world.page import tables, write_page
from .toy_world.table import summary, tracking, write_clips, write_plots, write_table

_FLOOR_CLIPS = 192
_NAMES = (*BASELINES, *METHODS, *ASIDE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("var/compare"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--methods", nargs="+", choices=_NAMES, help="default: all")
    parser.add_argument("--short", action="store_true", help="a few minutes a seed, to look at")
    parser.add_argument("--seconds", type=float, help="processor time of each method")
    parser.add_argument("--base-seconds", type=float, help="of each network that others begin as")
    parser.add_argument("--updates", type=int, help="updates of each student, in place of time")
    parser.add_argument("--real", choices=("oracle", "network"), default="oracle")
    parser.add_argument("--jobs", type=int, default=2, help="processes, of one thread each")
    parser.add_argument("--tables-only", action="store_true", help="of what --out has")
    parser.add_argument("--page", type=Path, help="a page of the documentation to put tables into")
    args = parser.parse_args()
    if args.tables_only:
        report(args.out, args.page)
        return
    plan = replace(SHORT if args.short else DEFAULT, real=args.real)
    if args.seconds:
        plan = replace(plan, seconds=args.seconds)
    if args.base_seconds:
        plan = replace(plan, base_seconds=args.base_seconds)
    if args.updates:
        plan = replace(plan, seconds=None, updates=args.updates)
    # a teacher takes as long as three networks that others begin as; an oracle is none's pupil
    names = args.methods or [n for n in _NAMES if n != "teacher" or plan.real == "network"]
    for seed in args.seeds:
        compare(args.out, seed, plan, names, args.jobs)
    report(args.out, args.page)


def compare(out: Path, seed: int, plan: Plan, names: Sequence[str], jobs: int) -> None:
    """Teach and measure what is not yet; first what others begin with."""
    needed = {base for name in names for base in bases_of(name, plan.real)}
    if "sinks" in names and SINKS_OF not in names:
        names = (SINKS_OF, *names)
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        methods = [name for name in names if name not in (*BASES, *ASIDE)]
        aside = [name for name in names if name in ASIDE]
        bases = [[base] for base in BASES if base in needed]
        for group in (*bases, methods, aside):
            list(pool.map(_run, [(out, seed, plan, name) for name in group]))


def _run(told: tuple[Path, int, Plan, str]) -> None:
    out, seed, plan, name = told
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    Comparison(out, seed, plan).run(name)


def report(out: Path, page: Path | None = None) -> None:
    """Tables, plots and clips of all that `out` has, of whatever seeds; tables into a `page` too.

    Raises ValueError where there is nothing.
    """
    folders = sorted(out.glob("seed-*"))
    if not folders:
        raise ValueError(f"{out} has no seed-1, seed-2, ...; is it the folder of a comparison?")
    rows = rows_in(folders, (*BASELINES, *METHODS))
    aside = {name: rows_in(folders, (name,)) for name in ASIDE}
    write_table(out / "compare.csv", rows)
    write_table(out / "tracking.csv", tracking(rows))
    for name, own in aside.items():
        write_table(out / f"{name}.csv", own)
    found, best = summary(rows), floor(Reference(), _FLOOR_CLIPS)
    made = tables(rows, found, aside["sinks"], aside["sites"], best)
    for name, table in made.items():
        (out / f"{name}.md").write_text(table)
    if page is not None:
        write_page(page, made)
    write_plots(out / "compare.png", found, best)
    write_clips(out / "clips.png", folders[0])


def rows_in(folders: Sequence[Path], names: Sequence[str]) -> list[dict[str, Any]]:
    """What was measured of these names in folders of seeds, seed by seed."""
    files = [folder / f"{name}.json" for folder in folders for name in names]
    return [row for file in files if file.exists() for row in json.loads(file.read_text())]


if __name__ == "__main__":
    main()
