"""Wires the commands: each is named here, and imported when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Annotated, ClassVar

import typer
from rich.console import Console

from .commands_on_demand import GroupOnDemand


class _Commands(GroupOnDemand):
    places: ClassVar[Mapping[str, str]] = {
        "serve": "serve:serve",
        "render": "render:render",
        "record": "record:record",
        "replay": "replay:replay",
        "bench": "bench:bench",
        "fleet": "fleet:fleet",
        "doctor": "doctor:doctor",
        "models": "catalogue:models",
        "try": "try_model:try_model",
        "parity": "parity:parity",
        "protocol": "protocol:protocol",
        "token": "token:token",
        "livekit": "livekit:livekit",
    }


app = typer.Typer(
    name="rollcast",
    cls=_Commands,
    help="Real-time streaming video: serve it, steer it, record it, measure it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _say_version(wanted: bool) -> None:
    if wanted:
        Console().print(f"rollcast {version('rollcast')}", highlight=False)
        raise typer.Exit


@app.callback()
def options(
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Say the version."),
    ] = False,
) -> None:
    """Options before the command."""
