"""`rollcast bench attack`: what attacks cost a healthy viewer of the real server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from ...benchmarks.attack.attack import MOST_DRY_S, AttackBenchOptions, AttackReport, measure
from ...benchmarks.attack.attack_soak import AttackSoakOptions, AttackSoakReport
from ...benchmarks.attack.attack_soak import soak as run_soak
from ...benchmarks.attack.attacks import ATTACKS
from ...benchmarks.attack.processes import NOTHING
from ...models.own_models import DEFAULT_MODEL
from .bench_output import give, own_server, progress
from .failure import EXIT_USAGE, Failure
from .options import check_model


def attack(
    model: Annotated[str, typer.Option(help="A name of `rollcast models`.")] = DEFAULT_MODEL,
    only: Annotated[
        list[str] | None, typer.Option(help="One attack alone; may be repeated.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=2, help="Measured time for each.")] = 22.0,
    soak: Annotated[
        float | None,
        typer.Option(min=1, help="In place of that: all in turn for so many minutes."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the JSON into this file, too.")] = None,
) -> None:
    """Attack a server of its own, and measure how long a healthy viewer beside it is dry."""
    check_model(model)
    if soak is not None:
        with own_server():
            long = run_soak(AttackSoakOptions(model, soak, seconds), progress())
        if not give(long.to_json(), as_json=as_json, out=out):
            _show_soak(long)
        return
    names = (NOTHING, *ATTACKS)
    for name in only or ():
        if name not in names:
            known = ", ".join(names)
            raise Failure(f"there is no attack {name!r}; known: {known}", exit_code=EXIT_USAGE)
    plan = AttackBenchOptions(model, tuple(only or names), seconds)
    with own_server():
        report = measure(plan, progress())
    if not give(report.to_json(), as_json=as_json, out=out):
        _show(report)


def _show(report: AttackReport) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("attack")
    headings = ("viewer dry", "reconnects", "slowest /health", "failed", "log lines")
    for heading in (*headings, "memory", "other load"):
        table.add_column(heading, justify="right")
    for row in report.rows:
        table.add_row(
            row.attack,
            f"{row.dry_s:.2f} s" + ("" if row.dry_s <= MOST_DRY_S else " (!)"),
            str(row.reconnects),
            f"{1e3 * row.health_s:.0f} ms",
            str(row.health_failed),
            str(row.log_lines),
            f"{row.memory_mb:+.0f} MB",
            f"{row.other_cores:.2f} cores",
        )
    console = Console(highlight=False, width=100)
    console.print(f"{report.model}, {report.seconds:g} s each", markup=False)
    console.print(table)


def _show_soak(report: AttackSoakReport) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("behind an attack", "first", "last"):
        table.add_column(heading, justify="right" if heading != "behind an attack" else "left")
    rows = (("memory, MB", report.memory_mb), ("open files", report.files), ("tasks", report.tasks))
    for name, (first, last) in rows:
        table.add_row(name, f"{first:.0f}", f"{last:.0f}")
    console = Console(highlight=False, width=100)
    console.print(
        f"{report.model}, {report.minutes:g} min, {report.attacks} attacks: viewer dry "
        f"{report.dry_s:.1f} s, {report.reconnects} reconnects, memory "
        f"{report.memory_mb_per_min:+.2f} MB/min",
        markup=False,
    )
    console.print(table)
