"""`rollcast bench pipeline`: the three executors measured here, or a pipeline of GPUs forecast."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from ...models.own_models import DEFAULT_MODEL
from ...models.pipeline.pipeline import PipelineFailed
from ...models.pipeline.simulator import Forecast, simulate
from ...models.pipeline.stage_plan import Costs, choose_plan
from .bench_output import counts, give, progress
from .failure import Failure, as_failure
from .options import check_model


def pipeline(
    model: Annotated[str, typer.Option(help="A name of `rollcast models`.")] = DEFAULT_MODEL,
    stages: Annotated[str, typer.Option(help="Numbers of stages, like 1,2,3.")] = "2",
    chunks: Annotated[int, typer.Option(min=20, help="Chunks whose latents are compared.")] = 50,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of each process.")] = 1,
    soak: Annotated[
        float | None, typer.Option(min=0.1, help="Also stream for so many minutes.")
    ] = None,
    faults: Annotated[
        int, typer.Option(min=0, help="Also lose so many stages at random moments.")
    ] = 0,
    trace: Annotated[
        Path | None, typer.Option(help="Write one chunk's way as Chrome trace JSON.")
    ] = None,
    simulated: Annotated[
        bool, typer.Option("--simulate", help="Forecast instead, from the times below.")
    ] = False,
    steps: Annotated[int, typer.Option(min=1, help="Forecast: denoising steps.")] = 4,
    step_ms: Annotated[float, typer.Option(min=0, help="Forecast: one step of a chunk.")] = 265.0,
    decode_ms: Annotated[float, typer.Option(min=0, help="Forecast: decoding a chunk.")] = 150.0,
    link_ms: Annotated[float, typer.Option(min=0, help="Forecast: latents to the next.")] = 1.0,
    chunk_frames: Annotated[int, typer.Option(min=1, help="Forecast: frames of a chunk.")] = 12,
    fps: Annotated[float, typer.Option(min=1, help="Forecast: frame rate of playback.")] = 25.0,
    sessions: Annotated[int, typer.Option(min=1, help="Forecast: streams at once.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the JSON into this file, too.")] = None,
) -> None:
    """Sequential, diagonal and pipeline side by side, or with --simulate a forecast."""
    if simulated:
        costs = Costs(0.0, (step_ms / 1e3,) * steps, decode_ms / 1e3)
        rows = [
            _forecast(count, costs, chunk_frames, fps, sessions, link_ms / 1e3)
            for count in range(1, steps + 2)
        ]
        found = [{"full": asdict(a), "paced": asdict(b)} for a, b in rows]
        if not give(found, as_json=as_json, out=out):
            _show_forecast(rows)
        return
    check_model(model)
    from ...benchmarks.pipeline.executors import PipelineBenchOptions, measure

    options = PipelineBenchOptions(
        model,
        counts(stages, option="--stages", of="stages", example="1,2,3"),
        chunks=chunks,
        threads=threads,
        soak_minutes=soak,
        faults=faults,
        trace=trace,
    )
    with as_failure():
        try:
            report = measure(options, progress())
        except PipelineFailed as error:
            raise Failure(str(error), hint="`rollcast doctor` says what is wrong.") from error
    found = report.to_json()
    if not give(found, as_json=as_json, out=out):
        _show(found)


def _forecast(
    stages: int, costs: Costs, chunk_frames: int, fps: float, sessions: int, link_s: float
) -> tuple[Forecast, Forecast]:
    """At full speed, and paced by playback."""
    plan = choose_plan(stages, costs)
    full, paced = (
        simulate(
            costs,
            plan,
            chunk_frames=chunk_frames,
            fps=fps,
            sessions=sessions,
            link_s=link_s,
            paced=each,
        )
        for each in (False, True)
    )
    return full, paced


def _show_forecast(rows: list[tuple[Forecast, Forecast]]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("stages", "fps", "first frame", "latency paced", "streams in real time"):
        table.add_column(heading, justify="right")
    for full, paced in rows:
        # a pipeline that is too slow for playback has no latency to speak of: it grows
        fits = full.real_time_sessions >= full.sessions
        table.add_row(
            str(full.stages),
            f"{full.fps:.1f}",
            f"{full.ttff_s:.2f} s",
            f"{paced.latency_s:.2f} s" if fits else "too slow",
            str(full.real_time_sessions),
        )
    Console(highlight=False, width=100).print(table)


def _show(found: dict) -> None:
    console = Console(highlight=False, width=100)
    table = Table(box=None, pad_edge=False)
    for heading in ("executor", "fps", "of sequential", "latency", "simulated fps", "latency"):
        table.add_column(heading, justify="right")
    rows = [("sequential", found["sequential"]), ("diagonal", found["diagonal"])]
    rows += [(f"{row['stages']} stages", row) for row in found["pipeline"]]
    for name, row in rows:
        forecast = row.get("simulated_fps")
        table.add_row(
            name,
            f"{row['fps']:.1f}",
            f"{row['over_sequential']:.2f}",
            f"{1e3 * row['latency_s']:.0f} ms",
            "" if forecast is None else f"{forecast:.1f}",
            "" if forecast is None else f"{1e3 * row['simulated_latency_s']:.0f} ms",
        )
    console.print(table)
    same = "equal bit for bit" if found["latents_equal"] else "NOT EQUAL"
    console.print(
        f"latents of {found['chunks']} chunks with events: pipeline and sequential {same}, "
        f"diagonal within {found['diagonal_difference']:.1e}"
    )
    for name in ("soak", "faults"):
        if found[name]:
            console.print(f"{name}: " + ", ".join(f"{k} {v}" for k, v in found[name].items()))
