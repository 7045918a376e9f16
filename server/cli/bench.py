"""`rollcast bench`: what this machine does, measured; one sub-command for each question."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from ...benchmarks.server_process import ServerDied
from ...benchmarks.stream import Plan, StreamReport, measure
from ...models.registry import DEFAULT_MODEL, model_names
from .bench_pipeline import pipeline
from .failure import EXIT_USAGE, Failure, as_failure

bench = typer.Typer(help="Measure this machine.", no_args_is_help=True, rich_markup_mode=None)


@bench.callback()
def group() -> None:
    """Measure this machine."""


bench.command()(pipeline)


@bench.command()
def stream(
    model: Annotated[str, typer.Option(help="A name of `rollcast models`.")] = DEFAULT_MODEL,
    sessions: Annotated[str, typer.Option(help="Numbers of viewers at once, like 1,2,4.")] = "1",
    seconds: Annotated[float, typer.Option(min=2, help="Measured time for each number.")] = 20.0,
    soak: Annotated[
        float | None, typer.Option(min=0.2, help="Also one viewer for so many minutes.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of the model.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the JSON into this file, too.")] = None,
) -> None:
    """Start the real server and real viewers, and measure what the viewers get."""
    if model not in model_names():
        known = ", ".join(model_names())
        raise Failure(f"unknown model {model!r}; known: {known}", exit_code=EXIT_USAGE)
    plan = Plan(model, _counts(sessions), seconds, soak, threads)
    say = Console(stderr=True, highlight=False)
    with as_failure():
        try:
            report = measure(plan, lambda text: say.print(text, markup=False, style="dim"))
        except ServerDied as error:
            raise Failure(str(error), cure="`rollcast doctor` says what is wrong.") from error
    text = json.dumps(report.to_json(), indent=2)
    if out:
        out.write_text(text + "\n")
    if as_json:
        typer.echo(text)
    else:
        _show(report)


def _counts(text: str) -> tuple[int, ...]:
    try:
        counts = tuple(int(part) for part in text.split(","))
    except ValueError:
        counts = ()
    if not counts or min(counts) < 1:
        raise Failure(
            f"--sessions is a list of numbers of viewers, got {text!r}",
            cure="Write it like --sessions 1,2,4.",
            exit_code=EXIT_USAGE,
        )
    return counts


def _show(report: StreamReport) -> None:
    console = Console(highlight=False, soft_wrap=True)
    native = report.native
    console.print(
        f"{report.model} on {report.device}: {native.width}x{native.height} at {native.fps} fps, "
        f"{native.chunk_frames} frames per chunk",
        markup=False,
    )
    table = Table(box=None, pad_edge=False)
    headings = ("viewers", "fps", "rtf p50", "p95", "cold start", "warm", "control p95")
    for heading in (*headings, "overhead", "memory"):
        table.add_column(heading, justify="right")
    for row in report.sessions:
        table.add_row(
            str(row.n),
            f"{row.fps:.1f}",
            f"{row.rtf_p50:.3f}",
            f"{row.rtf_p95:.3f}",
            f"{row.ttff_cold_s:.2f} s",
            f"{row.ttff_warm_s:.2f} s",
            f"{row.control_chunks_p95:.1f} chunks",
            f"{100 * row.overhead_ratio:.1f} %",
            f"{row.rss_mb:.0f} MB",
        )
    Console(highlight=False, width=100).print(table)
    if report.soak:
        console.print(
            f"soak {report.soak.minutes:g} min: memory "
            f"{report.soak.rss_slope_mb_per_min:+.2f} MB/min, chunk time at the end "
            f"{report.soak.chunk_time_last_over_first:.2f} x that at the start"
        )
