"""`rollcast bench capacity`: how many streams this machine serves at once."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer
from rich.console import Console
from rich.table import Table

from ...benchmarks.capacity.capacity import CapacityPlan, CapacityReport, Trial, measure_capacity
from ...models.own_models import DEFAULT_MODEL
from ..config import ServerConfig
from ..engine.scheduler import ModelLoad
from ..engine.turns_estimates import EstimateRow
from ..engine.turns_estimates import estimates as estimated
from ..engine.turns_simulator import Turns, forecast
from .bench_model import served_options
from .bench_output import counts, give, own_server, progress
from .failure import EXIT_USAGE, Failure, as_failure
from .frame_size import parse_size
from .options import Device, DType, Size, Threads, Weights, check_model

if TYPE_CHECKING:
    from ...benchmarks.capacity.batched_steps import StepsReport

_ROUNDS = 20
_TRIALS = "staggered:1,sliced:2,staggered:2,staggered:3,batched:2"


def capacity(
    model: Annotated[str, typer.Option(help="A name of `rollcast models`.")] = DEFAULT_MODEL,
    trials: Annotated[
        str, typer.Option(help="How streams share the model, and how many.")
    ] = _TRIALS,
    seconds: Annotated[float, typer.Option(min=2, help="Measured time of each trial.")] = 20.0,
    core: Annotated[
        int | None,
        typer.Option(min=0, help="Keep the server and its processes on this one (Linux)."),
    ] = None,
    threads: Threads = None,
    weights: Weights = None,
    size: Size = None,
    device: Device = None,
    dtype: DType = None,
    steps: Annotated[
        str | None,
        typer.Option(help="Instead: what batches of so many rows gain the denoising steps."),
    ] = None,
    estimates: Annotated[
        bool, typer.Option("--estimates", help="Also of GPUs that nobody measured.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the JSON into this file, too.")] = None,
) -> None:
    """Streams at real time: measured with the real server, and forecast by what chunks take.

    A published model is read from --weights, as by `rollcast serve`.
    """
    if steps is not None:
        check_model(model)
        # here, for it needs torch, and the other commands do not wait for that
        from ...benchmarks.capacity.batched_steps import measure_steps
        from ...models.registry import load_model

        rows = counts(steps, option="--steps", of="rows", example="2,8")
        with as_failure():
            loaded = load_model(
                model,
                threads=threads or 1,
                weights=weights or (),
                size=None if size is None else parse_size(size),
                sessions=2 * max(rows),
                dtype=dtype,
                device=device,
            )
            gains = measure_steps(loaded, rows, _ROUNDS, progress())
        if not give(gains.to_json(), as_json=as_json, out=out):
            _show_steps(gains)
        return
    chosen = _trials(trials)
    most = max(trial.streams for trial in chosen)
    options = served_options(model, weights, size, device, dtype, sessions=most + 1)
    plan = CapacityPlan(model, chosen, seconds, threads, _core(core), options)
    with own_server():
        report = measure_capacity(plan, progress())
    promised = _forecast(report)
    rows = estimated() if estimates else []
    whole = {
        **report.to_json(),
        "forecast": promised,
        "estimates": [asdict(each) for each in rows],
    }
    if not give(whole, as_json=as_json, out=out):
        _show(report, promised, rows)


def _forecast(report: CapacityReport) -> dict[str, int]:
    """Streams at real time on the same machine, were it idle, by the times of chunks."""
    slack_s = (ServerConfig().max_lead_chunks - 1) * report.chunk_s
    table = {int(rows): seconds for rows, seconds in report.table.items()}
    load = ModelLoad(report.model, report.alone_s, report.chunk_s, slack_s, table)
    return {turns: forecast(load, turns) for turns in get_args(Turns)}


def _core(core: int | None) -> int | None:
    """`core`, which this process may use. Raises a Failure."""
    if core is None:
        return None
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set[int]()
    if core not in usable:
        told = ", ".join(map(str, sorted(usable))) or "none on this system"
        raise Failure(
            f"--core {core} cannot be used; there are: {told}",
            hint="Name one of those.",
            exit_code=EXIT_USAGE,
        )
    return core


def _trials(text: str) -> tuple[Trial, ...]:
    """Those of `text`, such as "sliced:2,batched:4". Raises a Failure that names the option."""
    known: dict[str, Turns] = {each: each for each in get_args(Turns)}
    found: list[Trial] = []
    for part in text.split(","):
        turns, _, streams = part.strip().partition(":")
        if turns not in known or not streams.isdecimal() or int(streams) < 1:
            raise Failure(
                f"--trials has {part!r}; expected one of {', '.join(known)}, a colon and a number",
                hint=f"Write it like --trials {_TRIALS}.",
                exit_code=EXIT_USAGE,
            )
        found.append(Trial(known[turns], int(streams)))
    return tuple(found)


def _show_steps(report: StepsReport) -> None:
    console = Console(highlight=False, width=100)
    console.print(f"{report.model} on {report.device}, {report.threads} threads", markup=False)
    for row in report.rows:
        console.print(
            f"steps of {row.rows} chunks: one by one {1e3 * row.one_by_one_s:.0f} ms, as a batch "
            f"{1e3 * row.batched_s:.0f} ms: {row.gain:.2f} times as fast"
        )


def _show(report: CapacityReport, promised: dict[str, int], estimates: list[EstimateRow]) -> None:
    console = Console(highlight=False, width=100)
    where = "" if report.cores is None else f", on {report.cores} core"
    told = ", ".join(f"{rows} in {1e3 * s:.0f} ms" for rows, s in report.table.items())
    console.print(
        f"{report.model} on {report.device}{where}: a chunk lasts {1e3 * report.chunk_s:.0f} ms "
        f"and takes {1e3 * report.alone_s:.0f} ms; batches: {told or 'not measured'}",
        markup=False,
    )
    table = Table(box=None, pad_edge=False)
    headings = ("turns", "streams", "slowest fps", "in time", "chunk p95", "waits", "batched")
    for heading in (*headings, "others", "real time"):
        table.add_column(heading, justify="right")
    for row in report.measured:
        table.add_row(
            row.turns,
            str(row.streams),
            f"{row.fps:.1f}",
            f"{100 * row.in_time:.1f} %",
            f"{1e3 * row.chunk_s:.0f} ms",
            f"{1e3 * row.waits_s:.0f} ms",
            f"{100 * row.batched:.0f} %",
            f"{row.others:.2f} cores",
            "yes" if row.real_time else "no",
        )
    console.print(table)
    ways = ", ".join(f"{turns} {streams}" for turns, streams in promised.items())
    console.print(f"forecast by these times, were the machine idle: {ways}")
    for each in estimates:
        console.print(
            f"estimate, not measured: {each.model} on {each.device}: sliced {each.sliced}, "
            f"staggered {each.staggered}, batched {each.batched}",
            markup=False,
        )
