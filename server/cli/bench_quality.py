"""`rollcast bench quality`: the embedded model, measured from its pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from .bench_output import give, progress
from .failure import EXIT_USAGE, Failure, as_failure
from .options import Threads


def quality(
    minutes: Annotated[
        float, typer.Option(min=0.0, help="Media time of each long stream; 0.1 for a quick look.")
    ] = 30.0,
    looks: Annotated[str, typer.Option(help="Only these looks, like kofi-news,sea.")] = "",
    human: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="A folder of recorded speech."),
    ] = None,
    clip: Annotated[
        Path | None,
        typer.Option(help="Write a WebP of three looks saying --human."),
    ] = None,
    outside: Annotated[
        bool, typer.Option("--outside", help="Only this: Face Mesh judges lips that say --human.")
    ] = False,
    portrait: Annotated[
        list[Path] | None,
        typer.Option(exists=True, dir_okay=False, help="With --outside: one more face to judge."),
    ] = None,
    strangers: Annotated[
        int, typer.Option(min=0, help="With --outside: rendered people nobody has trained on.")
    ] = 4,
    threads: Threads = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the JSON into this file, too.")] = None,
) -> None:
    """Measure the embedded model on held-out speech, drags and prompts."""
    from ...benchmarks.quality.outside import measure_outside
    from ...benchmarks.quality.quality import measure
    from ...benchmarks.rounding import rounded
    from ...models.own_models import DEFAULT_MODEL
    from ...models.pocket.evaluation.evaluation_set import QualitySet
    from ...models.registry import load_model
    from ...models.staged_model import StagedModel

    if clip is not None and human is None:
        raise Failure(
            "--clip shows recordings, and there are none",
            hint="Name a folder of them with --human.",
            exit_code=EXIT_USAGE,
        )
    if outside and human is None:
        raise Failure(
            "--outside holds lips against a voice, and there is none",
            hint="Name a folder of recordings with --human.",
            exit_code=EXIT_USAGE,
        )
    if portrait and not outside:
        raise Failure(
            "--portrait is for --outside alone", hint="Add --outside.", exit_code=EXIT_USAGE
        )
    names = [name for name in looks.split(",") if name]
    with as_failure():
        model = load_model(DEFAULT_MODEL, threads=threads)
        assert isinstance(model, StagedModel), "the embedded model can be taken apart"
        reference = QualitySet.read()
        if outside and human is not None:
            rows = reference.rows(names) or range(len(reference.looks))
            avatars = [
                each.name for each in map(reference.looks.__getitem__, rows) if each.is_avatar
            ]
            report = measure_outside(
                model, avatars, human, portrait or (), strangers, say=progress()
            )
        else:
            report = measure(
                model,
                reference,
                minutes=minutes,
                names=names,
                human=human,
                clip=clip,
                say=progress(),
            )
    found = {key: rounded(value, digits=4) for key, value in report.items()}
    if not give(found, as_json=as_json, out=out):
        _show(found)


def _show(report: dict[str, Any]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for name, value in report.items():
        if name != "details":
            console.print(f"{name:24} {value}", markup=False)
    for name, row in report.get("details", {}).get("faces", {}).items():
        console.print(f"  {name:22} {row}", markup=False)
