"""`rollcast models`: what can be served from this installation."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from ...models.registry import DEFAULT_MODEL, load_model, model_names
from .failure import as_failure


def models(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    load: Annotated[
        bool, typer.Option("--load", help="Load each one and show its size, rate and scenes.")
    ] = False,
) -> None:
    """List the models that `serve` and `render` can use."""
    with as_failure():
        rows = [_describe(name, about, load) for name, about in model_names().items()]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    table = Table(box=None, pad_edge=False)
    for column in rows[0]:
        table.add_column(column)
    for row in rows:
        table.add_row(*(", ".join(v) if isinstance(v, list) else str(v) for v in row.values()))
    Console().print(table)


def _describe(name: str, about: str, load: bool) -> dict[str, object]:
    row: dict[str, object] = {"name": name, "default": name == DEFAULT_MODEL, "about": about}
    if load:
        info = load_model(name).info
        row |= {
            "width": info.width,
            "height": info.height,
            "fps": info.fps,
            "chunk_frames": info.chunk_frames,
            "inputs": sorted(info.inputs.names),
            "scenes": [scene.name for scene in info.scenes],
        }
    return row
