"""Wires the commands and turns a Failure into two lines and an exit code."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from importlib.metadata import version
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console

from .bench import bench
from .catalogue import models
from .doctor import doctor
from .failure import EXIT_INTERRUPTED, Failure
from .fleet import fleet
from .livekit import livekit
from .parity import parity
from .protocol import protocol
from .record import record
from .render import render
from .replay import replay
from .serve import serve
from .token import token
from .try_model import try_model

app = typer.Typer(
    name="rollcast",
    help="Real-time streaming video: serve it, steer it, record it, measure it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(serve)
app.command()(render)
app.command()(record)
app.command()(replay)
app.add_typer(bench, name="bench")
app.add_typer(fleet, name="fleet")
app.command()(doctor)
app.add_typer(models, name="models")
app.command("try")(try_model)
app.command()(parity)
app.command()(protocol)
app.command()(token)
app.command()(livekit)


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
