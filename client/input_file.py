"""Files to read from, of any name: also a pipe, and `-` for what is piped in."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

PIPED = "-"


@contextmanager
def open_input(path: Path | str, what: str) -> Iterator[BinaryIO]:
    """The bytes of a file, or of standard input for `-`, for as long as the block lasts.

    `what` names its content in errors, like "audio file". Raises FileNotFoundError, ValueError for
    a folder or a name that none can have, or OSError for what may not be read.
    """
    if str(path) == PIPED:
        if sys.stdin is None:
            raise FileNotFoundError(f"no such {what}: nothing is piped in")
        yield sys.stdin.buffer
        return
    try:
        file = Path(path).open("rb")  # noqa: SIM115  closed below, past the errors of opening it
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no such {what}: {path}") from error
    except IsADirectoryError as error:
        raise ValueError(f"{path} is a folder; give a file") from error
    except OSError as error:
        raise OSError(error.errno, f"cannot read the {what} {path}: {error.strerror}") from error
    with file:
        yield file
