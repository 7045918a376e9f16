"""An unchanged Pipecat pipeline with our service, run by the Python that has Pipecat; a report.

    python pipeline.py URL RATE PLAN

PLAN is JSON: `[hz, seconds, cut]` for each sentence, a tone that is interrupted after `cut` seconds
or, if that is null, spoken to its end. The transport plays sound as a sound card does, each piece
for as long as it is. The report is JSON on the last line; times are the monotonic clock's.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from itertools import pairwise
from typing import Any

import numpy as np
from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    EndFrame,
    Frame,
    InterruptionFrame,
    OutputAudioRawFrame,
    OutputImageRawFrame,
    StartFrame,
    TextFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams
from pipecat.workers.runner import WorkerRunner

from rollcast.client.pipecat import RollcastVideoService

VOICE_RATE = 24_000
SIZE, FPS = 128, 25
TONES = (300, 500, 700, 900, 1100, 1300)
LOUD = 500
CLOSED = 5


class Voice(FrameProcessor):
    """Speech synthesis: a tone for a text `HZ,SECONDS`, four times as fast as it is spoken."""

    def __init__(self) -> None:
        super().__init__()
        self._speaking: asyncio.Task[None] | None = None

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, TextFrame):
            self._speaking = self.create_task(self._speak(frame.text))
            return
        if isinstance(frame, InterruptionFrame):
            await self._stop()
        if isinstance(frame, EndFrame) and self._speaking is not None:
            await asyncio.wait({self._speaking})
        await self.push_frame(frame, direction)

    async def cleanup(self) -> None:
        await super().cleanup()
        await self._stop()

    async def _stop(self) -> None:
        if self._speaking is not None:
            await self.cancel_task(self._speaking)
            self._speaking = None

    async def _speak(self, text: str) -> None:
        hz, seconds = map(float, text.split(","))
        wave = 9000 * np.sin(2 * np.pi * hz * np.arange(int(VOICE_RATE * seconds)) / VOICE_RATE)
        await self.push_frame(TTSStartedFrame(context_id=text))
        for begin in range(0, len(wave), VOICE_RATE // 50):
            piece = wave[begin : begin + VOICE_RATE // 50].astype(np.int16).tobytes()
            await self.push_frame(TTSAudioRawFrame(piece, VOICE_RATE, 1, context_id=text))
            await asyncio.sleep(0.005)
        await self.push_frame(TTSStoppedFrame(context_id=text))


class Device(BaseOutputTransport):
    """A sound card with one piece queued, and a screen."""

    def __init__(self, params: TransportParams) -> None:
        super().__init__(params)
        self.sound: list[tuple[float, np.ndarray, int]] = []
        self.frames: list[tuple[float, np.ndarray]] = []
        self._free_s = 0.0

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        samples = np.frombuffer(frame.audio, np.int16)
        at_s = max(time.monotonic(), self._free_s)
        self._free_s = at_s + len(samples) / frame.sample_rate
        self.sound.append((at_s, samples, frame.sample_rate))
        await asyncio.sleep(max(0.0, self._free_s - time.monotonic() - 0.002))
        return True

    async def write_video_frame(self, frame: OutputImageRawFrame) -> bool:
        width, height = frame.size
        image = np.frombuffer(frame.image, np.uint8).reshape(height, width, 3)
        self.frames.append((time.monotonic(), image))
        return True


class Watch(FrameProcessor):
    """Notes when the transport says that the bot speaks."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[float, str]] = []

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, BotStartedSpeakingFrame | BotStoppedSpeakingFrame):
            what = "started" if isinstance(frame, BotStartedSpeakingFrame) else "stopped"
            self.told.append((time.monotonic(), what))
        await self.push_frame(frame, direction)


def tone_of(samples: np.ndarray, rate: int) -> int:
    """Which of the tones is heard; 0 for silence."""
    if np.abs(samples.astype(int)).max(initial=0) < LOUD:
        return 0
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 8192))
    return min(TONES, key=lambda each: abs(each - np.argmax(spectrum) * rate / 8192))


def number_of(picture: np.ndarray) -> int:
    """The frame's number, as the test pattern shows it."""
    bits = picture[SIZE // 32, SIZE // 32 :: SIZE // 16].mean(-1) > 127
    return int(sum(1 << (15 - k) for k, bit in enumerate(bits[:16]) if bit))


def mouth_of(picture: np.ndarray) -> int:
    """How far the pattern's mouth is open, in dark pixels of a column through it."""
    return int((picture[70:106, 64].astype(int).sum(-1) < 130).sum())


def report_of(device: Device, watch: Watch, told: list[list[Any]]) -> dict[str, Any]:
    heard = [(at_s, tone_of(s, r), len(s) / r) for at_s, s, r in device.sound]
    frames = [(at_s, number_of(image), mouth_of(image)) for at_s, image in device.frames]
    opens = [b[0] for a, b in pairwise(frames) if a[2] <= CLOSED < b[2]]
    sentences = []
    for at_s, _, hz in (each for each in told if each[1] == "say"):
        sounds = [when for when, what, _ in heard if what == hz]
        sentences.append(
            {
                "hz": hz,
                "sound_ms": 1e3 * (sounds[0] - at_s) if sounds else None,
                "skew_ms": 1e3 * (sounds[0] - nearest(opens, sounds[0])) if sounds else None,
                "heard_s": sum(long for _, what, long in heard if what == hz),
            }
        )
    silent_ms = []
    for cut_s, _, hz in (each for each in told if each[1] == "interrupt"):
        late = [at_s + long - cut_s for at_s, what, long in heard if what == hz and at_s > cut_s]
        silent_ms.append(1e3 * max(late, default=0.0))
    numbers = [number for _, number, _ in frames]
    steps = [b - a for a, b in pairwise(numbers)]
    holes = [b[0] - a[0] - a[2] for a, b in pairwise(heard) if a[1] == b[1] != 0]
    return {
        "told": told,
        "bot": watch.told,
        "sentences": sentences,
        "silent_ms": silent_ms,
        "frames": len(numbers),
        "repeats": steps.count(0),
        "skips": sum(step > 1 for step in steps),
        "longest_hole_ms": 1e3 * max(holes, default=0.0),
    }


def nearest(times_s: list[float], wanted_s: float) -> float:
    """The one of these times that is nearest to another; that itself where there is none."""
    return min(times_s, key=lambda each: abs(each - wanted_s), default=wanted_s)


def output_at(rate: int) -> TransportParams:
    """What a device plays that takes sound at this rate."""
    return TransportParams(
        audio_out_enabled=True,
        audio_out_sample_rate=rate,
        audio_out_10ms_chunks=2,
        video_out_enabled=True,
        video_out_is_live=True,
        video_out_width=SIZE,
        video_out_height=SIZE,
        video_out_framerate=FPS,
    )


def speaking_at(rate: int, processors: list[FrameProcessor]) -> PipelineWorker:
    """The worker of a pipeline with a device of this rate at its end."""
    return PipelineWorker(
        Pipeline(processors),
        params=PipelineParams(audio_out_sample_rate=rate),
        cancel_on_idle_timeout=False,
        enable_rtvi=False,
    )


async def main(url: str, rate: int, plan: list[list[Any]]) -> None:
    device, watch = Device(output_at(rate)), Watch()
    worker = speaking_at(rate, [Voice(), watch, RollcastVideoService(url=url), device])
    started = asyncio.Event()

    @worker.event_handler("on_pipeline_started")
    async def _started(*_: object) -> None:
        started.set()

    told: list[list[Any]] = []
    late_ms, share = 0.0, 0.0

    async def watch_clock() -> None:
        nonlocal late_ms
        while True:
            due_s = time.monotonic() + 0.01
            await asyncio.sleep(0.01)
            late_ms = max(late_ms, 1e3 * (time.monotonic() - due_s))

    async def drive() -> None:
        await asyncio.wait_for(started.wait(), 60)
        await asyncio.sleep(1.5)
        clock = asyncio.create_task(watch_clock())
        begin_s, used_s = time.monotonic(), time.process_time()
        for hz, seconds, cut in plan:
            told.append([time.monotonic(), "say", hz])
            await worker.queue_frame(TextFrame(text=f"{hz},{seconds}"))
            if cut is None:
                stops = sum(what == "stopped" for _, what in watch.told)
                while sum(what == "stopped" for _, what in watch.told) == stops:
                    await asyncio.sleep(0.01)
                told.append([time.monotonic(), "over", hz])
            else:
                await asyncio.sleep(cut)
                told.append([time.monotonic(), "interrupt", hz])
                await worker.queue_frame(InterruptionFrame())
                await asyncio.sleep(0.05)
        # the end of the pipeline waits for the last words
        told.append([time.monotonic(), "say", TONES[-1]])
        await worker.queue_frame(TextFrame(text=f"{TONES[-1]},0.8"))
        await asyncio.sleep(0.1)
        await worker.queue_frame(EndFrame())
        clock.cancel()
        nonlocal share
        share = (time.process_time() - used_s) / (time.monotonic() - begin_s)

    runner = WorkerRunner()
    await runner.add_workers(worker)
    await asyncio.gather(runner.run(), drive())
    report = report_of(device, watch, told)
    print(json.dumps({**report, "late_ms": late_ms, "core_share": share}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])))
