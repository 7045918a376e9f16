"""`rollcast bench quality`: the embedded model, measured from its pixels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from .failure import EXIT_USAGE, Failure, as_failure


def quality(
    minutes: Annotated[
        float, typer.Option(min=0.0, help="Media time of each long stream; 0.1 for a quick look.")
    ] = 30.0,
    looks: Annotated[str, typer.Option(help="Only these looks, like kofi-news,sea.")] = "",
    human: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="A folder of recorded speech."),
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of the model.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the JSON into this file, too.")] = None,
) -> None:
    """Measure the embedded model on held-out speech, drags and prompts."""
    from ...benchmarks.quality import measure
    from ...benchmarks.quality_set import QualitySet
    from ...models.registry import DEFAULT_MODEL, load_model

    say = Console(stderr=True, highlight=False)
    names = [name for name in looks.split(",") if name]
    with as_failure():
        model = load_model(DEFAULT_MODEL, threads=threads)
        try:
            report = measure(
                model,
                QualitySet.read(),
                minutes=minutes,
                names=names,
                human=human,
                say=lambda text: say.print(text, markup=False, style="dim"),
            )
        except ValueError as error:
            raise Failure(str(error), exit_code=EXIT_USAGE) from error
    report = _rounded(report)
    text = json.dumps(report, indent=1)
    if out:
        out.write_text(text + "\n")
    if as_json:
        typer.echo(text)
    else:
        _show(report)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _show(report: dict[str, Any]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for name, value in report.items():
        if name != "details":
            console.print(f"{name:24} {value}", markup=False)
