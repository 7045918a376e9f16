"""`rollcast protocol`: the streaming protocol as documents that programs read."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import typer


def protocol(
    form: Annotated[
        Literal["schema", "asyncapi"],
        typer.Option("--format", help="JSON Schema of every message, or AsyncAPI."),
    ] = "schema",
) -> None:
    """Print the protocol's JSON Schema or AsyncAPI document."""
    from ..protocol.schema import asyncapi, json_schema

    typer.echo(json.dumps(json_schema() if form == "schema" else asyncapi(), indent=2))
