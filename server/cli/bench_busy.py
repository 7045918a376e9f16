"""`rollcast bench busy`: a stream on a machine that has other work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from ...benchmarks.stream.busy import FULL_RATE, BusyReport, measure_busy
from ...models.own_models import DEFAULT_MODEL
from .bench_model import served_options
from .bench_output import give, own_server, progress
from .options import Device, DType, Size, Threads, Weights


def busy(
    model: Annotated[str, typer.Option(help="A name of `rollcast models`.")] = DEFAULT_MODEL,
    load: Annotated[int, typer.Option(min=0, help="Processes that only compute.")] = 5,
    seconds: Annotated[float, typer.Option(min=9, help="Measured time each way.")] = 60.0,
    threads: Threads = None,
    weights: Weights = None,
    size: Size = None,
    device: Device = None,
    dtype: DType = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the JSON into this file, too.")] = None,
) -> None:
    """Keep this machine busy beside a stream: what its viewer gets, with the ladder and without."""
    options = served_options(model, weights, size, device, dtype, sessions=1)
    with own_server():
        report = measure_busy(model, load, seconds, threads, progress(), options)
    if not give(report.to_json(), as_json=as_json, out=out):
        _show(report)


def _show(report: BusyReport) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("ladder", "fps", "media time", "level", "why"):
        table.add_column(heading)
    for row in report.rows:
        table.add_row(
            "on" if row.ladder else "off",
            f"{row.fps:.1f}",
            f"{100 * row.media_share:.0f} %",
            str(row.level),
            row.why or "",
        )
    console = Console(highlight=False, width=100)
    console.print(f"{report.model} on {report.device}, {report.load} busy processes", markup=False)
    console.print(table)
    for row in report.rows:
        holds = row.fps >= FULL_RATE * report.model_fps
        console.print(
            f"{'with' if row.ladder else 'without'} the ladder: {row.fps:.1f} of "
            f"{report.model_fps} frames a second: {'real time' if holds else 'not real time'}"
        )
