"""The `rollcast` program: begins what takes longest, runs the command, and says what failed."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from types import FrameType

from .failure import EXIT_INTERRUPTED, Failure


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
        if sys.argv[1:2] == ["serve"]:
            from .head_start import begin

            begin(sys.argv[2:])
        _run(None)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    finally:
        # All is said and kept: interrupting the end of the interpreter itself shows no traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _exit(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def _run(arguments: Sequence[str] | None) -> None:
    from .commands import app

    try:
        app(args=None if arguments is None else list(arguments))
    except Failure as failure:
        from rich.console import Console

        console = Console(stderr=True, highlight=False, soft_wrap=True)
        console.print(f"error: {failure}", style="red", markup=False)
        if failure.hint:
            console.print(failure.hint, markup=False)
        sys.exit(failure.exit_code)
