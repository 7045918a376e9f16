"""What voices cost by each way, in time and processor: `make bench-voice`, on a quiet machine.

The model is the test pattern, which takes no time: what is measured is the way. The processor time
is the server's over the WebSocket and WHEP; LiveKit's worker and Pipecat's bot have theirs beside
what the server has for a WebSocket.
"""

from __future__ import annotations

import asyncio
import os
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


def main() -> None:
    """Measure and print a table."""
    print(f"load when it began: {os.getloadavg()[0]:.2f}; median / worst, or the median alone")
    print(
        "| way | say -> first sound, ms | interrupt -> silence, ms | sound after mouth, ms "
        "| of a core, a viewer, % |"
    )
    print("|---|---|---|---|---|")
    for row in measure_transports(TURNS, 1, COST_S, lambda text: None).rows:
        share = 100 * row.server_core_share_a_viewer
        name = NAMES[row.transport]
        print(f"| {name} | {row.speech_ms:.0f} | {row.silence_ms:.0f} | | {share:.1f} |")
    for contract in ("bithuman", "liveavatar"):
        report = run_scene(contract, 1, PLAN)
        (room,) = report["rooms"]
        name = f"LiveKit, {contract}'s plugin (the worker)"
        print(_row(name, room, report["worker_core_share"]), flush=True)
    for rate in (24_000, 16_000):
        report = asyncio.run(_pipeline(rate))
        name = f"Pipecat, {rate} Hz (the bot)"
        print(_row(name, report, report["core_share"]), flush=True)


if __name__ == "__main__":
    main()
