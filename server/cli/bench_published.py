"""`rollcast bench published`: chunks beside those of a student's published code, on one CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from .bench_output import give, progress
from .failure import as_failure


def published(
    checkout: Annotated[Path, typer.Option(help="Folder of Reward Forcing's own repository.")],
    dim: Annotated[int, typer.Option(min=24, help="Width of the student.")] = 1536,
    heads: Annotated[int, typer.Option(min=1, help="Attention heads.")] = 12,
    ffn_dim: Annotated[int, typer.Option(min=1, help="Width of its feed-forward layers.")] = 8960,
    layers: Annotated[int, typer.Option(min=1, help="Blocks; Reward Forcing has 30.")] = 2,
    text_len: Annotated[int, typer.Option(min=1, help="Rows of text.")] = 512,
    text_dim: Annotated[int, typer.Option(min=1, help="Values of a row of text.")] = 4096,
    height: Annotated[int, typer.Option(min=2, help="Latent rows, two to a token.")] = 16,
    width: Annotated[int, typer.Option(min=2, help="Latent columns, two to a token.")] = 24,
    chunks: Annotated[int, typer.Option(min=4, help="Chunks of a round, 3 latents each.")] = 6,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds, each of both.")] = 5,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the JSON into this file, too.")] = None,
) -> None:
    """Make the same chunks here and by Reward Forcing's own code: time, difference, parts.

    Weights are random and the same, so is noise; attention is torch's in both.
    """
    import torch

    from ...benchmarks.published.beside import BesideOptions, measure_beside

    torch.set_num_threads(threads)
    plan = BesideOptions(
        dim=dim,
        heads=heads,
        ffn_dim=ffn_dim,
        layers=layers,
        text_len=text_len,
        text_dim=text_dim,
        height=height,
        width=width,
        chunks=chunks,
        rounds=rounds,
    )
    with as_failure():
        report = measure_beside(checkout, plan, progress())
    if not give(report, as_json=as_json, out=out):
        _show(report)


def _show(report: dict[str, Any]) -> None:
    console, seconds = Console(highlight=False, soft_wrap=True), report["seconds"]
    console.print(
        f"a chunk takes {seconds['ours']:.3g} s of processor time, the published code "
        f"{seconds['published']:.3g} s: {report['ratio']:.2f} of it (median of pairs); outputs "
        f"differ by at most {report['greatest_difference']:.1e}",
        markup=False,
    )
    table = Table("seconds of a chunk, profiled", "Rollcast", "published", box=None, pad_edge=False)
    for part, ours in report["parts"]["ours"].items():
        table.add_row(part, f"{ours:.3f}", f"{report['parts']['published'][part]:.3f}")
    console.print(table)
