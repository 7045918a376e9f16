"""`rollcast bench attention`: dense, windowed and sparse attention against each other, here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ...models.devices import device_named
from .bench_output import give, progress
from .failure import as_failure
from .options import Device


def attention(
    blocks: Annotated[int, typer.Option(min=10, help="Blocks of 64 keys in the cache.")] = 40,
    queries: Annotated[int, typer.Option(min=1, help="Queries, the tokens of a chunk.")] = 192,
    heads: Annotated[int, typer.Option(min=1, help="Attention heads.")] = 6,
    head_dim: Annotated[int, typer.Option(min=16, max=128, help="Width of a head.")] = 64,
    rounds: Annotated[int, typer.Option(min=1, help="Timings of each pair.")] = 31,
    device: Device = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the JSON into this file, too.")] = None,
) -> None:
    """Measure every attention backend of this machine against dense attention."""
    import torch

    from ...benchmarks.kernels.attention import AttentionBenchOptions, measure

    with as_failure():
        where = device_named(device)
    torch.set_num_threads(threads)
    plan = AttentionBenchOptions(blocks, queries, heads, head_dim, rounds)
    report = measure(plan, where, progress())
    if not give(report, as_json=as_json, out=out):
        _show(report)


def _show(report: dict[str, Any]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    console.print(
        f"{report['device']}, {report['dtype']}: dense attention of {report['queries']} queries to "
        f"{report['keys']} keys takes {report['dense_ms']} ms",
        markup=False,
    )
    for name, ratio in report["backends"].items():
        console.print(f"  dense by {name:10} {ratio:6.2f} x", markup=False)
    window = report["window"]
    console.print(f"  window of {window['keys']:<8} {window['speedup_vs_dense']:6.2f} x")
    for sparsity, ratio in report["sparse"].items():
        whole = report["with_selection"][sparsity]
        console.print(
            f"  sparse {float(sparsity):4.0%}        {ratio:6.2f} x, with the choice of blocks "
            f"and the global branch {whole:.2f} x",
            markup=False,
        )
