"""Wires the commands and turns a Failure into two lines and an exit code."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from types import FrameType
from typing import Annotated, ClassVar

import typer
from rich.console import Console

from .commands_on_demand import GroupOnDemand
from .failure import EXIT_INTERRUPTED, Failure


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


def _exit(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script; exits with 0, or with the code of what went wrong.

    With `arguments` it is a call like any other: the caller's process keeps its signals.
    """
    if arguments is not None:
        _run(arguments)
        return
    # So that a command that is ended takes down what it started; `serve` replaces this by its own.
    signal.signal(signal.SIGTERM, _exit)
    try:
        _run(None)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    finally:
        # All is said and kept: interrupting the end of the interpreter itself shows no traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _run(arguments: Sequence[str] | None) -> None:
    try:
        app(args=None if arguments is None else list(arguments))
    except Failure as failure:
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        console.print(f"error: {failure}", style="red", markup=False)
        if failure.hint:
            console.print(failure.hint, markup=False)
        sys.exit(failure.exit_code)
