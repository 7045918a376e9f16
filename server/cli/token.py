"""`rollcast token`: a token for a client, made with the server's secret and without the server."""

from __future__ import annotations

import re
import time
from datetime import datetime
from typing import Annotated

import typer
from rich.console import Console

from ..access import usable_token
from ..web.client_tokens import MAX_LIFE_S, SCOPES, Scope, make_token
from .failure import EXIT_USAGE, Failure, as_failure

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(\d{1,9})([smhd]?)")


def token(
    expires: Annotated[
        str, typer.Option(help="For how long it is good, like 90s, 15m, 1h or 7d; at most 7d.")
    ] = "1h",
    scope: Annotated[
        list[str] | None,
        typer.Option(help="What it permits: stream (the default) or sessions; may be repeated."),
    ] = None,
    subject: Annotated[
        str, typer.Option(help="Whom it is for: --max-per-client counts by it, not by address.")
    ] = "",
    secret: Annotated[
        str | None,
        typer.Option("--token", envvar="ROLLCAST_TOKEN", help="The server's secret."),
    ] = None,
) -> None:
    """Make a token that a client can be given in place of the server's secret, and print it."""
    if secret is None:
        raise Failure(
            "a token is made with the server's secret, and there is none",
            hint="Set ROLLCAST_TOKEN to it, as for `rollcast serve`.",
            exit_code=EXIT_USAGE,
        )
    with as_failure():
        expires_s = int(time.time()) + seconds_of(expires)
        scopes = _scopes(scope or ["stream"])
        made = make_token(usable_token(secret), scopes, expires_s, subject)
    until = datetime.fromtimestamp(expires_s).isoformat(sep=" ", timespec="minutes")
    said = f"for {' and '.join(scopes)} until {until}"
    Console(stderr=True, highlight=False, soft_wrap=True).print(said, style="dim", markup=False)
    typer.echo(made)


def _scopes(names: list[str]) -> list[Scope]:
    for name in names:
        if name not in SCOPES:
            raise ValueError(f"--scope is one of {', '.join(SCOPES)}, got {name!r}")
    return [scope for scope in SCOPES if scope in names]


def seconds_of(text: str) -> int:
    """A duration in seconds. Raises ValueError for what is none, or none that a token may have."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"--expires is a number with s, m, h or d, like 15m, got {text!r}")
    seconds = int(match[1]) * _UNITS[match[2] or "s"]
    if not 1 <= seconds <= MAX_LIFE_S:
        raise ValueError(f"--expires is from 1s to {MAX_LIFE_S // 86_400}d, got {text!r}")
    return seconds
