"""`rollcast doctor`: what this machine can run, in a few seconds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from ...models.own_models import DEFAULT_MODEL
from .checkup import Finding, Speed, look_at_machine, measure_models
from .failure import as_failure
from .options import Device, DType

_SHARPER = "pocket-256"
_FITS = 0.8
"""Of a chunk's duration, its time 95 times of 100: the rest is for encoding, and for others."""
_COLOUR = {"ok": "green", "note": "yellow", "problem": "red"}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of the models.")] = None,
    seconds: Annotated[
        float, typer.Option(min=0.01, help="How long each model is measured.")
    ] = 1.5,
    device: Device = None,
    dtype: DType = None,
) -> None:
    """Say what this machine can run and how fast; exits with 1 when the usual model is too slow."""
    with as_failure():
        findings = list(look_at_machine(device, dtype))
    speeds: list[Speed] = []
    for result in measure_models(threads, seconds):
        if isinstance(result, Speed):
            speeds.append(result)
        else:
            findings.append(result)
    healthy = any(speed.model == DEFAULT_MODEL and speed.sessions >= 1 for speed in speeds)
    if as_json:
        typer.echo(json.dumps(_report(findings, speeds, healthy), indent=2))
    else:
        _show(findings, speeds)
    if not healthy:
        raise typer.Exit(1)


def verdict(findings: Sequence[Finding], speeds: Sequence[Speed]) -> str:
    """One sentence for people."""
    real_time = [f"{s.model} ({s.sessions} at once)" for s in speeds if s.sessions >= 1]
    slow = [s.model for s in speeds if s.sessions < 1]
    broken = [f.name for f in findings if f.status == "problem"]
    parts = [
        f"Runs in real time: {', '.join(real_time)}."
        if real_time
        else "Nothing runs in real time.",
        f"Too slow here: {', '.join(slow)}." if slow else "",
        f"Sharper, and fast enough here: rollcast serve --model {_SHARPER}."
        if any(s.model == _SHARPER and s.step_ms_p95 <= _FITS * s.chunk_ms for s in speeds)
        else "",
        f"Needs attention: {', '.join(broken)}." if broken else "",
    ]
    return " ".join(part for part in parts if part)


def _report(findings: Sequence[Finding], speeds: Sequence[Speed], healthy: bool) -> dict:
    models = [
        asdict(speed) | {"fps_expected": speed.fps_expected, "sessions": speed.sessions}
        for speed in speeds
    ]
    return {
        "ok": healthy,
        "verdict": verdict(findings, speeds),
        "findings": [asdict(finding) for finding in findings],
        "models": models,
    }


def _show(findings: Sequence[Finding], speeds: Sequence[Speed]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for finding in findings:
        colour = _COLOUR[finding.status]
        console.print(f"[{colour}]{finding.status:>7}[/]  {finding.name}: ", end="")
        console.print(f"{finding.detail} {finding.hint}".rstrip(), markup=False)
    table = Table(box=None, pad_edge=False)
    for heading in ("model", "step p50", "step p95", "chunk lasts", "expected", "at once"):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    for speed in speeds:
        table.add_row(
            speed.model,
            f"{speed.step_ms_p50:.1f} ms",
            f"{speed.step_ms_p95:.1f} ms",
            f"{speed.chunk_ms:.0f} ms",
            f"{speed.fps_expected:.0f} fps of {speed.fps_native:.0f}",
            str(speed.sessions),
        )
    if speeds:
        console.print(table)
    console.print(verdict(findings, speeds), markup=False, style="bold")
