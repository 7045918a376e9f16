"""`rollcast bench types`: what types of numbers cost in exactness, on golden cases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from .bench_output import give, progress
from .failure import as_failure


def types(
    cases: Annotated[list[Path], typer.Argument(help="Golden cases (JSON), or folders of them.")],
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the JSON into this file, too.")] = None,
) -> None:
    """Run golden cases in every type: the error in standard deviations of what was recorded."""
    from ...benchmarks.quality.number_types import TYPES, measure_types
    from ...models.parity.cases import case_files

    with as_failure():
        report = measure_types(case_files(cases), progress())
    if give(report, as_json=as_json, out=out):
        return
    table = Table("case", *TYPES, box=None, pad_edge=False)
    for name, row in report.items():
        table.add_row(name, *(f"{row[each]['greatest']:.2%}" for each in TYPES))
    Console().print(table)
