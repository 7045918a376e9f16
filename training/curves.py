"""Draw the logs of training, one SVG for each stage: `python -m training.curves`."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from rollcast.models.pocket.evaluation.chart import Line, Lines, draw

KINDS = {"train": "training", "evaluate": "held out"}
Curves = dict[str, list[tuple[float, float]]]


def read_log(path: Path) -> tuple[Curves, int]:
    """Points (step, value) by column, and the number of rows that do not fit their header.

    Steps that were made again after a stop count as they were made last. A header may stand
    between the rows: from there on its columns are logged.
    """
    columns: list[str] = []
    found: dict[str, dict[float, float]] = {}
    misfits = 0
    with path.open(newline="") as file:
        for row in csv.reader(file):
            if row[0] == "step":
                columns = row[1:]
            elif len(row) != len(columns) + 1:
                misfits += 1
            else:
                for name, value in zip(columns, row[1:], strict=True):
                    found.setdefault(name, {})[float(row[0])] = float(value)
    curves = {name: sorted(points.items()) for name, points in found.items()}
    return {n: [(x, y) for x, y in c if y == y] for n, c in curves.items()}, misfits


def panels_of(stage: Path) -> tuple[list[Lines], int]:
    """A panel for every column that a stage logged, and the number of rows that are left out.

    A column of both logs has two: what is trained on may be another measure of the same name.
    """
    panels = []
    misfits = 0
    for kind, name in KINDS.items():
        path = stage / f"{kind}.csv"
        if not path.exists():
            continue
        curves, left_out = read_log(path)
        misfits += left_out
        for column, points in curves.items():
            if points:
                line = Line(name, tuple(points))
                panels.append(Lines(column, "step", (line,), from_zero=False))
    return panels, misfits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", type=Path, default=Path("var/train"))
    parser.add_argument("--out", type=Path, default=Path("var/train"))
    args = parser.parse_args()
    stages = sorted({path.parent for path in args.parts.glob("*/*.csv")})
    if not stages:
        parser.error(f"{args.parts} has no logs of training; name the folder with --parts")
    args.out.mkdir(parents=True, exist_ok=True)
    for stage in stages:
        panels, misfits = panels_of(stage)
        if misfits:
            print(f"{stage.name}: {misfits} rows do not fit their header")  # noqa: T201
        if panels:
            path = args.out / f"{stage.name}.svg"
            path.write_text(draw(panels, columns=3), encoding="utf-8")
            print(path)  # noqa: T201


if __name__ == "__main__":
    main()
