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
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.transports.base_transport import TransportParams
from pipecat.workers.runner import WorkerRunner

from rollcast.client.pipecat import RollcastVideoService
from tests.client.held import held
from tests.client.pipecat.pipeline import FPS, SIZE, VOICE_RATE, Device, Voice

AT_ONCE, FIFTHS = 4, 5


async def visit(url: str) -> None:
    """One pipeline from its start to its end."""
    params = TransportParams(
        audio_out_enabled=True,
        audio_out_sample_rate=VOICE_RATE,
        audio_out_10ms_chunks=2,
        video_out_enabled=True,
        video_out_is_live=True,
        video_out_width=SIZE,
        video_out_height=SIZE,
        video_out_framerate=FPS,
    )
    device = Device(params)
    worker = PipelineWorker(
        Pipeline([Voice(), RollcastVideoService(url=url), device]),
        params=PipelineParams(audio_out_sample_rate=VOICE_RATE),
        cancel_on_idle_timeout=False,
        enable_rtvi=False,
    )
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
