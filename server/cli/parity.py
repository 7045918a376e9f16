"""`rollcast parity`: how far this engine is from a published implementation, chunk by chunk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .failure import EXIT_USAGE, Failure


def parity(
    cases: Annotated[list[Path], typer.Argument(help="Case files of golden tensors (JSON).")],
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Run golden cases; exits with 1 when one differs by more than its tolerance."""
    missing = [str(path) for path in cases if not path.is_file()]
    if missing:
        raise Failure(f"no such case: {', '.join(missing)}", exit_code=EXIT_USAGE)
    from ...models.parity.cases import report_cases

    reports = report_cases(cases)
    if as_json:
        rows = [
            {
                "name": report.name,
                "family": report.family,
                "passed": report.passed,
                "tolerance": report.tolerance,
                "chunk_differences": list(report.chunk_differences),
                "error": report.error,
            }
            for report in reports
        ]
        typer.echo(json.dumps(rows, indent=2))
    else:
        console = Console(highlight=False, soft_wrap=True)
        for report in reports:
            console.print(f"{'pass' if report.passed else 'FAIL'}  {report.name}", markup=False)
            if report.error:
                console.print(f"      {report.error}", markup=False)
            for number, difference in enumerate(report.chunk_differences):
                console.print(
                    f"      chunk {number}: {difference:.3g} (at most {report.tolerance:g})"
                )
    if not all(report.passed for report in reports):
        raise typer.Exit(1)
