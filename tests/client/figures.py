"""What voices cost in time, through LiveKit and Pipecat: `make bench-voice`, on a quiet machine.

The model is the test pattern, which takes no time: what is measured is the way.
"""

from __future__ import annotations

import asyncio
import os
from statistics import median
from typing import Any

from tests.client.peers import last_line, run_pipeline, run_scene
from tests.server.running import running

PLAN: list[list[Any]] = [
    *([hz, 1.0, None] for hz in (300, 500, 700)),
    *([hz, 4, 1.1 + hz / 5000] for hz in (900, 1100)),
]
"""Every tone once: by it a sentence is known. The first three are spoken into silence."""
QUIET = 3


def _row(name: str, report: dict[str, Any]) -> str:
    first = [each["sound_ms"] for each in report["sentences"] if each["sound_ms"] is not None]
    # of those that were spoken into silence
    skew = [each["skew_ms"] for each in report["sentences"][:QUIET]]
    skew = [each for each in skew if each is not None] or [0.0]
    silent = report["silent_ms"]
    return (
        f"| {name} | {median(first):.0f} / {max(first):.0f} | {median(silent):.0f} / "
        f"{max(silent):.0f} | {median(skew):+.0f} / {max(skew, key=abs):+.0f} |"
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
    print(f"load when it began: {os.getloadavg()[0]:.2f}")
    print("| way | say -> first sound, ms | interrupt -> silence, ms | sound after mouth, ms |")
    print("|---|---|---|---|")
    for contract in ("bithuman", "liveavatar"):
        (room,) = run_scene(contract, 1, PLAN)["rooms"]
        print(_row(f"LiveKit, {contract}'s plugin", room), flush=True)
    for rate in (24_000, 16_000):
        print(_row(f"Pipecat, {rate} Hz", asyncio.run(_pipeline(rate))), flush=True)


if __name__ == "__main__":
    main()
