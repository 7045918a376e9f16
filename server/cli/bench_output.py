"""What all benchmarks do with their arguments and results."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console

from ...benchmarks.stream.server_process import ServerDied
from .failure import EXIT_USAGE, Failure, as_failure


def counts(text: str, *, option: str, of: str, example: str) -> tuple[int, ...]:
    """The numbers of `text`, such as "1,2,4". Raises a Failure that names the option."""
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < 1:
        raise Failure(
            f"{option} is a list of numbers of {of}, got {text!r}",
            hint=f"Write it like {option} {example}.",
            exit_code=EXIT_USAGE,
        )
    return numbers


def progress() -> Callable[[str], None]:
    """Says what goes on beside the result, on stderr."""
    console = Console(stderr=True, highlight=False)
    return lambda text: console.print(text, markup=False, style="dim")


@contextmanager
def own_server() -> Iterator[None]:
    """Turn what may go wrong with a server of the benchmark's own into a Failure."""
    with as_failure():
        try:
            yield
        except ServerDied as error:
            raise Failure(str(error), hint="`rollcast doctor` says what is wrong.") from error


def give(report: object, *, as_json: bool, out: Path | None) -> bool:
    """Write the report as JSON where it is wanted; whether it is all that should be printed.

    Raises a Failure for a file that cannot be written, after the report was printed instead.
    """
    text = json.dumps(report, indent=2)
    if out:
        try:
            out.write_text(text + "\n")
        except OSError as error:
            typer.echo(text)
            raise Failure(
                f"cannot write {out}: {error.strerror}",
                hint="The report is printed instead; it is not lost.",
            ) from error
    if as_json:
        typer.echo(text)
    return as_json
