"""`rollcast bench ablation`: the embedded model's weights under other sinks, windows and steps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .bench_output import progress
from .failure import EXIT_USAGE, Failure, as_failure


def ablation(
    minutes: Annotated[
        float, typer.Option(min=0.1, help="Media time of the long streams; 0.5 for a quick look.")
    ] = 10.0,
    looks: Annotated[str, typer.Option(help="These looks, the first one longest.")] = "",
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of the model.")] = 1,
    out: Annotated[
        Path, typer.Option(help="The report; a run that was stopped goes on from it.")
    ] = Path("ablation.json"),
    kept: Annotated[
        Path, typer.Option(help="A folder for the streams' last frames, which clips show.")
    ] = Path("var/ablation"),
    plot: Annotated[
        Path | None, typer.Option(help="Draw the report's plots into this folder.")
    ] = None,
    table: Annotated[
        Path | None, typer.Option(help="Put the report's tables into this page.")
    ] = None,
    clip: Annotated[
        Path | None, typer.Option(help="Write this WebP of streams side by side.")
    ] = None,
    of: Annotated[
        str, typer.Option(help="Variants of --clip, with labels: none-w5-s2=no sink,...")
    ] = "",
) -> None:
    """Measure the model as it is against variants; --plot, --table and --clip show a report."""
    from ...benchmarks.ablation import ablation as bench

    with as_failure():
        if plot or table or clip:
            report = bench.read(out)
            if plot:
                _plot(report, plot)
            if table:
                _table(report, table)
            if clip:
                _clip(report, kept, of, clip)
            return
        _measure(minutes, [name for name in looks.split(",") if name], threads, out, kept)


def _measure(minutes: float, names: list[str], threads: int, out: Path, kept: Path) -> None:
    import torch

    from ...benchmarks.ablation.ablation import measure
    from ...benchmarks.ablation.table import tables
    from ...models.pocket.evaluation.evaluation_set import QualitySet

    torch.set_num_threads(threads)
    reference = QualitySet.read()
    report = measure(reference, minutes=minutes, out=out, kept=kept, names=names, say=progress())
    Console(highlight=False, soft_wrap=True).print(tables(report), markup=False)


def _plot(report: dict, folder: Path) -> None:
    from ...benchmarks.ablation.plots import plot

    try:
        paths = plot(report, folder)
    except ModuleNotFoundError as error:
        raise Failure(str(error)) from error
    for path in paths:
        typer.echo(path)


def _table(report: dict, page: Path) -> None:
    from ...benchmarks.ablation.table import write_tables

    write_tables(report, page)


def _clip(report: dict, kept: Path, of: str, path: Path) -> None:
    from ...benchmarks.ablation.clip import write_clip

    pairs = [part.partition("=") for part in of.split(",") if part]
    if not pairs:
        raise Failure(
            "--clip does not say of what",
            hint="Write it like --of 'none-w5-s2=no sink,static-w5-s2=static sink'.",
            exit_code=EXIT_USAGE,
        )
    first = report["looks"][0]
    keys = [f"{key}-{first}" for key, _, _ in pairs]
    size = write_clip(report, kept, keys, [label or key for key, _, label in pairs], path)
    typer.echo(f"{path}: {size / 1000:.0f} KB")
