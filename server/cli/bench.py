"""`rollcast bench`: what this machine does, measured; one sub-command for each question."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from ...benchmarks.stream.audience import AudienceReport, measure_audience
from ...benchmarks.stream.stream import StreamBenchOptions, StreamReport, measure
from ...models.own_models import DEFAULT_MODEL
from .bench_ablation import ablation
from .bench_attack import attack
from .bench_attention import attention
from .bench_busy import busy
from .bench_capacity import capacity
from .bench_fleet import fleet
from .bench_gpu import gpu
from .bench_model import served_options
from .bench_output import counts, give, own_server, progress
from .bench_pipeline import pipeline
from .bench_published import published
from .bench_quality import quality
from .bench_transports import transports
from .bench_types import types
from .options import Device, DType, Size, Threads, Weights

bench = typer.Typer(help="Measure this machine.", no_args_is_help=True, rich_markup_mode=None)


@bench.callback()
def group() -> None:
    """Measure this machine."""


bench.command()(ablation)
bench.command()(attack)
bench.command()(attention)
bench.command()(busy)
bench.command()(capacity)
bench.command()(fleet)
bench.command()(gpu)
bench.command()(pipeline)
bench.command()(published)
bench.command()(quality)
bench.command()(transports)
bench.command()(types)


@bench.command()
def stream(
    model: Annotated[str, typer.Option(help="A name of `rollcast models`.")] = DEFAULT_MODEL,
    sessions: Annotated[str, typer.Option(help="Numbers of viewers at once, like 1,2,4.")] = "1",
    seconds: Annotated[float, typer.Option(min=2, help="Measured time for each number.")] = 20.0,
    soak: Annotated[
        float | None, typer.Option(min=0.2, help="Also one viewer for so many minutes.")
    ] = None,
    threads: Threads = None,
    weights: Weights = None,
    size: Size = None,
    device: Device = None,
    dtype: DType = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the JSON into this file, too.")] = None,
) -> None:
    """Start the real server and real viewers, and measure what the viewers get.

    A published model is read from --weights, as by `rollcast serve`.
    """
    numbers = counts(sessions, option="--sessions", of="viewers", example="1,2,4")
    options = served_options(model, weights, size, device, dtype, sessions=max(numbers) + 1)
    plan = StreamBenchOptions(model, numbers, seconds, soak, threads, options)
    with own_server():
        report = measure(plan, progress())
    if not give(report.to_json(), as_json=as_json, out=out):
        _show(report)


@bench.command()
def audience(
    viewers: Annotated[str, typer.Option(help="Numbers of them, like 1,8,24.")] = "1,8,24",
    seconds: Annotated[float, typer.Option(min=2, help="Measured time for each number.")] = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the JSON into this file, too.")] = None,
) -> None:
    """Let more and more viewers watch one stream by a share link: what each costs the server."""
    numbers = counts(viewers, option="--viewers", of="viewers", example="1,8,24")
    with own_server():
        report = measure_audience(numbers, seconds, progress())
    if not give(report.to_json(), as_json=as_json, out=out):
        _show_audience(report)


def _show_audience(report: AudienceReport) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("viewers", "server", "frames missing", "first frame"):
        table.add_column(heading, justify="right")
    for row in report.rows:
        table.add_row(
            str(row.viewers),
            f"{100 * row.server_core_share:.1f} % of a core",
            str(row.missing_frames),
            f"{row.first_frame_s:.2f} s",
        )
    console = Console(highlight=False, width=100)
    console.print(table)
    console.print(f"a further viewer: {100 * report.core_share_a_viewer:.2f} % of a core")


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
            f"{row.memory_mb:.0f} MB",
        )
    Console(highlight=False, width=100).print(table)
    if report.soak:
        console.print(
            f"soak {report.soak.minutes:g} min: memory "
            f"{report.soak.memory_slope_mb_per_min:+.2f} MB/min, chunk time at the end "
            f"{report.soak.chunk_time_last_over_first:.2f} x that at the start"
        )
