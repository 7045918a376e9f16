"""`rollcast parity`: how far this engine is from a published implementation, chunk by chunk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .failure import as_failure
from .options import Attention, DType, Quantize


def parity(
    cases: Annotated[list[Path], typer.Argument(help="Golden cases (JSON), or folders of them.")],
    dtype: DType = None,
    quantize: Quantize = None,
    attention: Attention = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Run golden cases; exits with 1 when one differs by more than its tolerance.

    In other types than fp32 there is none: differences are told in standard deviations of what was
    recorded.
    """
    import torch

    from ...models.parity.cases import case_files, report_cases
    from ...models.wan.number_types import NumberTypes

    with as_failure():
        files = case_files(cases)
        cpu = torch.device("cpu")
        types = NumberTypes.named(dtype, quantize, cpu, attention=attention)
    exact = types == NumberTypes(torch.float32)
    reports = report_cases(files, types)
    if as_json:
        rows = [
            {
                "name": report.name,
                "family": report.family,
                "passed": report.passed,
                "tolerance": report.tolerance,
                "chunk_differences": list(report.chunk_differences),
                "error": report.error,
                "types": types.name,
                "spread": report.spread,
            }
            for report in reports
        ]
        typer.echo(json.dumps(rows, indent=2))
    else:
        console = Console(highlight=False, soft_wrap=True)
        for report in reports:
            verdict = "pass" if report.passed else "FAIL"
            if not exact:
                verdict = "FAIL" if report.error else types.name
            console.print(f"{verdict}  {report.name}", markup=False)
            if report.error:
                console.print(f"      {report.error}", markup=False)
            for number, difference in enumerate(report.chunk_differences):
                limit = f" (at most {report.tolerance:g})"
                if not exact:
                    limit = f" ({difference / report.spread:.2%} of the spread)"
                console.print(f"      chunk {number}: {difference:.3g}{limit}")
    if any(report.error if not exact else not report.passed for report in reports):
        raise typer.Exit(1)
