"""How commands fail: one line on what is wrong, one on what to do, and an exit code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_REFUSED = 3
EXIT_UNREACHABLE = 4
EXIT_INTERRUPTED = 130


class Failure(Exception):
    """Ends a command. `hint` says what the user can do."""

    def __init__(self, message: str, *, hint: str = "", exit_code: int = EXIT_FAILED) -> None:
        super().__init__(message)
        self.hint = hint
        self.exit_code = exit_code


@contextmanager
def as_failure(url: str = "") -> Iterator[None]:
    """Turn what users can cause inside the block (files, values, servers) into a Failure.

    `url` is the server that the block talks to, if it talks to one.
    """
    try:
        yield
    except Failure:
        raise
    except FileNotFoundError as error:
        hint = getattr(error, "hint", "")
        raise Failure(str(error), hint=hint, exit_code=EXIT_USAGE) from error
    except Exception as error:
        if (failure := _of_client(error)) is not None:
            raise failure from error
        if isinstance(error, OSError):  # before ValueError: a refused certificate is both
            raise _of_system(error, url) from error
        if isinstance(error, ValueError):
            raise Failure(str(error), exit_code=EXIT_USAGE) from error
        raise


def _of_client(error: Exception) -> Failure | None:
    # here, so that commands that need no client do not wait for it
    from ...client.errors import ClientError, Refused
    from ...client.output_file import OutputError

    match error:
        case Refused():
            wait = f" Try again in {error.retry_after_s:.0f} s." if error.retry_after_s else ""
            return Failure(f"the server refused: {error}{wait}", exit_code=EXIT_REFUSED)
        case ClientError():
            return Failure(str(error), exit_code=EXIT_UNREACHABLE)
        case OutputError():
            return Failure(str(error))
        case _:
            return None


def _of_system(error: OSError, url: str) -> Failure:
    if not url:
        return Failure(error.strerror or str(error))
    return Failure(
        f"cannot reach {url}: {error}",
        hint="Start a server with `rollcast serve`; for a self-signed certificate add --insecure.",
        exit_code=EXIT_UNREACHABLE,
    )
