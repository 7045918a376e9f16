"""What voices cost by each way, in time and processor: `make bench-voice`, on a quiet machine.

The model is the test pattern, which takes no time: what is measured is the way. The processor time
is the server's over the WebSocket and WHEP; LiveKit's worker and Pipecat's bot have theirs beside
what the server has for a WebSocket. With `--write docs/voice.md` the table goes between its marks
there; `--turns` and `--cost-s` make it short, for trying it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

from rollcast.benchmarks.stream.transports import Transport, measure_transports
from tests.client.peers import last_line, run_pipeline, run_scene
from tests.server.running import running

PLAN: list[list[Any]] = [
    *([hz, 1.0, None] for hz in (300, 500, 700)),
    *([hz, 4, 1.1 + hz / 5000] for hz in (900, 1100)),
]
"""Every tone once: by it a sentence is known. The first three are spoken into silence."""
QUIET = 3
TURNS, COST_S = 10, 15.0
BEGIN, END = "<!-- made by `make bench-voice` -->", "<!-- end of what is made -->"
NAMES: dict[Transport, str] = {
    "websocket": "WebSocket (the server)",
    "webrtc": "WHEP (the server)",
}


def _row(name: str, report: dict[str, Any], share: float) -> str:
    first = [each["sound_ms"] for each in report["sentences"] if each["sound_ms"] is not None]
    # of those that were spoken into silence
    skew = [each["skew_ms"] for each in report["sentences"][:QUIET]]
    skew = [each for each in skew if each is not None] or [0.0]
    silent = report["silent_ms"]
    return (
        f"| {name} | {median(first):.0f} / {max(first):.0f} | {median(silent):.0f} / "
        f"{max(silent):.0f} | {median(skew):+.0f} / {max(skew, key=abs):+.0f} | "
        f"{100 * share:.1f} |"
    )


async def _pipeline(rate: int) -> dict[str, Any]:
    async with running() as server:
        process = await asyncio.create_subprocess_exec(
            *run_pipeline(server.http, rate, PLAN),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        output, _ = await process.communicate()
        return last_line(output)


def lines(turns: int, cost_s: float) -> Iterator[str]:
    """The table and what it was measured on, line by line as it is measured."""
    cores, load = os.cpu_count(), os.getloadavg()[0]
    yield (
        f"{date.today():%Y-%m-%d}, {cores} cores, load {load:.2f} when it began, {turns} turns "
        "over WebSocket and WHEP, 5 sentences over the others; median / worst, or the median alone."
    )
    yield ""
    yield (
        "| way | say -> first sound, ms | interrupt -> silence, ms | sound after mouth, ms "
        "| of a core, a viewer, % |"
    )
    yield "|---|---|---|---|---|"
    for row in measure_transports(turns, 1, cost_s, lambda text: None).rows:
        share = 100 * row.server_core_share_a_viewer
        name = NAMES[row.transport]
        yield f"| {name} | {row.speech_ms:.0f} | {row.silence_ms:.0f} | | {share:.1f} |"
    for contract in ("bithuman", "liveavatar"):
        report = run_scene(contract, 1, PLAN)
        (room,) = report["rooms"]
        name = f"LiveKit, {contract}'s plugin (the worker)"
        yield _row(name, room, report["worker_core_share"])
    for rate in (24_000, 16_000):
        report = asyncio.run(_pipeline(rate))
        name = f"Pipecat, {rate} Hz (the bot)"
        yield _row(name, report, report["core_share"])


def main() -> None:
    """Measure, print the table, and put it where it belongs."""
    parser = argparse.ArgumentParser(prog="make bench-voice", description=__doc__)
    parser.add_argument("--write", type=Path, help="a document with a place for the table")
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--cost-s", type=float, default=COST_S)
    arguments = parser.parse_args()
    told: list[str] = []
    for line in lines(arguments.turns, arguments.cost_s):
        print(line, flush=True)
        told.append(line)
    if arguments.write is not None:
        before, begin, rest = arguments.write.read_text().partition(BEGIN)
        _, end, behind = rest.partition(END)
        if not (begin and end):
            parser.error(f"{arguments.write} has no lines {BEGIN} and {END}")
        text = "\n".join(told)
        arguments.write.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{behind}")


if __name__ == "__main__":
    main()
