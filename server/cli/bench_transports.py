"""`rollcast bench transports`: the WebSocket and WebRTC side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from ...benchmarks.stream.transports import TransportReport, measure_transports
from .bench_output import give, own_server, progress
from .failure import Failure


def transports(
    turns: Annotated[int, typer.Option(min=1, help="Prompts and interruptions each.")] = 10,
    viewers: Annotated[int, typer.Option(min=1, help="Who look while the cost is measured.")] = 2,
    seconds: Annotated[float, typer.Option(min=0.5, help="For which they look.")] = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the JSON into this file, too.")] = None,
) -> None:
    """How soon each way obeys, speaks and falls silent, and what a viewer costs the server."""
    try:
        with own_server():
            report = measure_transports(turns, viewers, seconds, progress())
    except ImportError as error:
        raise Failure(
            f"this needs WebRTC: {error}", hint="Install it: pip install 'rollcast[webrtc]'."
        ) from error
    if not give(report.to_json(), as_json=as_json, out=out):
        _show(report)


def _show(report: TransportReport) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("way", "first frame", "prompt", "speech", "silence", "server, a viewer"):
        table.add_column(heading, justify="right")
    for row in report.rows:
        times = (row.first_frame_ms, row.control_ms, row.speech_ms, row.silence_ms)
        cost = f"{100 * row.server_core_share_a_viewer:.1f} % of a core"
        table.add_row(row.transport, *(f"{each:.0f} ms" for each in times), cost)
    Console(highlight=False, width=100).print(table)
