"""`rollcast models`: what can be served, what it needs, and what files are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ...models.contract import ModelInfo
from ...models.own_models import DEFAULT_MODEL
from ...models.plugins import Plugin, PluginFailed
from ...models.registry import foreign_models, left_out, load_model, model_names
from ...models.wan.presets.catalogue import presets
from .failure import as_failure
from .models_check import check
from .models_plan import plan
from .models_table import table
from .options import warn

models = typer.Typer(
    help="List models, plan their memory, look at their files.", rich_markup_mode=None
)
models.command()(plan)
models.command()(check)
models.command()(table)


@models.callback(invoke_without_command=True)
def catalogue(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    load: Annotated[
        bool,
        typer.Option("--load", help="Show size, rate and inputs too; may load models."),
    ] = False,
) -> None:
    """List the models that `serve` and `render` can use; without a sub-command."""
    if context.invoked_subcommand is not None:
        return
    with as_failure():
        foreign = foreign_models()
        rows = [_describe(name, about, load, foreign) for name, about in model_names().items()]
    for line in left_out():
        warn(line)
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    shown: list[Mapping[str, Any]] = [
        row | {"needs": "files" if row["needs"] else "nothing"} for row in rows
    ]
    if not foreign:
        shown = [{k: v for k, v in row.items() if k != "distribution"} for row in shown]
    show_rows(shown)


def show_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows that have the same columns."""
    table = Table(box=None, pad_edge=False)
    for column in rows[0]:
        table.add_column(column)
    for row in rows:
        table.add_row(*(", ".join(v) if isinstance(v, list) else str(v) for v in row.values()))
    Console().print(table)


def _describe(name: str, about: str, load: bool, foreign: Mapping[str, Plugin]) -> dict[str, Any]:
    preset, plugin = presets().get(name), foreign.get(name)
    row: dict[str, Any] = {
        "name": name,
        "default": name == DEFAULT_MODEL,
        "about": about,
        "licence": "Apache-2.0" if preset is None else preset.licence,
        "needs": [] if preset is None else [f"{s.repository} {s.path}" for s in preset.sources],
        "distribution": "rollcast",
    }
    if plugin is not None:
        row |= {"licence": plugin.licence, "distribution": plugin.distribution}
    if load:
        row |= _details(_info(name, foreign))
    return row


def _info(name: str, foreign: Mapping[str, Plugin]) -> ModelInfo | None:
    """What a client must know of a model; None, and a warning, for a stranger's that fails."""
    preset = presets().get(name)
    if preset is not None:
        return preset.info()
    if name not in foreign:
        return load_model(name).info
    try:
        return load_model(name).info
    except (PluginFailed, FileNotFoundError) as error:
        warn(str(error))
        return None


def _details(info: ModelInfo | None) -> dict[str, Any]:
    if info is None:
        return dict.fromkeys(("width", "height", "fps", "chunk_frames", "inputs", "scenes"), "")
    return {
        "width": info.width,
        "height": info.height,
        "fps": info.fps,
        "chunk_frames": info.chunk_frames,
        "inputs": sorted(info.inputs.names),
        "scenes": [scene.name for scene in info.scenes],
    }
