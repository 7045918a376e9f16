"""Pipelines with our service that start, speak and end, a few at a time; what is then still held.

    python -m tests.client.pipecat.come_and_go URL COUNT

The report is JSON on the last line: what was held after each fifth of them.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator

from loguru import logger
from pipecat.frames.frames import EndFrame, TextFrame
from pipecat.workers.runner import WorkerRunner

from rollcast.client.pipecat import RollcastVideoService
from tests.client.held import held
from tests.client.pipecat.pipeline import VOICE_RATE, Device, Voice, output_at, speaking_at

AT_ONCE, FIFTHS = 4, 5


async def visit(url: str) -> None:
    """One pipeline from its start to its end."""
    device = Device(output_at(VOICE_RATE))
    worker = speaking_at(VOICE_RATE, [Voice(), RollcastVideoService(url=url), device])
    await worker.queue_frames([TextFrame(text="500,0.2"), EndFrame()])
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()
    assert any(samples.any() for _, samples, _ in device.sound)
    assert device.frames


async def visits(url: str, numbers: Iterator[int]) -> None:
    """One after the other, as long as there are numbers."""
    for _ in numbers:
        await visit(url)


async def main(url: str, count: int) -> None:
    reports = []
    for _ in range(FIFTHS):
        numbers = iter(range(count // FIFTHS))
        await asyncio.gather(*(visits(url, numbers) for _ in range(AT_ONCE)))
        reports.append(await held())
    print(json.dumps(reports))


if __name__ == "__main__":
    logger.remove()
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
