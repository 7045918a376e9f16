"""Viewers for the benchmark, in one process of their own that decodes nothing.

So that the load they make themselves stays small: they speak, steer and acknowledge like a
player, and drop the pictures. `python -m rollcast.benchmarks.stream.viewers URL COUNT SECONDS`
prints "steady" when every viewer has its first frame, and one line of JSON at the end. A fourth
argument: so many seconds after that moment it begins to count.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict, dataclass, field
from itertools import cycle
from time import monotonic

import numpy as np

from ...client import Frame, Stream, connect
from ...client.messages import ModelDescription

PROMPT_EVERY_S = 1.1
SPEAK_EVERY_S = 0.1


@dataclass
class Viewer:
    """What one viewer saw. `control_chunks` is, for each control, the media time from the moment
    of sending to the first frame that obeys, in chunks."""

    ttff_s: float = 0.0
    frames: int = 0
    seconds: float = 0.0
    control_chunks: list[float] = field(default_factory=list)
    reconnects: int = 0


@dataclass
class Party:
    """Viewers who start together and are counted from the moment that all see something."""

    count: int
    seconds: float
    settle_s: float = 0.0
    waiting: int = 0
    steady: asyncio.Event = field(default_factory=asyncio.Event)

    def first_frame(self) -> None:
        """A viewer sees something."""
        self.waiting += 1
        if self.waiting == self.count:
            print("steady", flush=True)
            self.steady.set()


async def watch(url: str, count: int, seconds: float, settle_s: float = 0.0) -> list[Viewer]:
    """Let `count` viewers watch for `seconds`, from `settle_s` after all of them have a picture."""
    party = Party(count, seconds, settle_s)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_view(url, party)) for _ in range(count)]
    return [task.result() for task in tasks]


async def _view(url: str, party: Party) -> Viewer:
    viewer = Viewer()
    start_s = monotonic()
    async with connect(url, decode=False, wait=False) as stream, asyncio.TaskGroup() as group:
        frames = stream.frames()
        await anext(frames)
        viewer.ttff_s = monotonic() - start_s
        party.first_frame()
        model = stream.model
        helpers = [
            group.create_task(_speak(stream, model)),
            group.create_task(_steer(stream, model, viewer, party.steady)),
        ]
        while not party.steady.is_set():
            await anext(frames)
        begin_s = monotonic() + party.settle_s
        while monotonic() < begin_s:
            await anext(frames)
        while (now_s := monotonic()) - begin_s < party.seconds:
            frame = await anext(frames)
            assert isinstance(frame, Frame)
            viewer.frames += 1
        viewer.seconds = now_s - begin_s
        viewer.reconnects = stream.reconnects
        for helper in helpers:
            helper.cancel()
    return viewer


async def _speak(stream: Stream, model: ModelDescription) -> None:
    """A hum with pauses, fed as a microphone does."""
    if model.inputs.speech is None:
        return
    count = int(SPEAK_EVERY_S * stream.audio_rate)
    hum = (6000 * np.sin(np.arange(count) * 0.1)).astype(np.int16)
    silence = np.zeros(count, np.int16)
    for turn in cycle(range(30)):
        await stream.feed(hum if turn < 20 else silence)
        await asyncio.sleep(SPEAK_EVERY_S)


async def _steer(
    stream: Stream, model: ModelDescription, viewer: Viewer, steady: asyncio.Event
) -> None:
    """Prompts now and then; notes how long each takes to show."""
    await steady.wait()
    if model.inputs.prompt is None:
        return
    chunk_us = 1e6 * model.chunk_frames / model.fps
    for text in cycle(model.inputs.prompt.examples or ["a red wall", "a blue wall"]):
        sent_at_us = stream.position_us
        applied = await stream.prompt(text)
        viewer.control_chunks.append((applied.pts_us - sent_at_us) / chunk_us)
        await asyncio.sleep(PROMPT_EVERY_S)


def main() -> None:
    """Run as a process: URL COUNT SECONDS, and perhaps seconds that do not count."""
    url, count, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    settle_s = float(sys.argv[4]) if len(sys.argv) > 4 else 0.0
    viewers = asyncio.run(watch(url, count, seconds, settle_s))
    print(json.dumps([asdict(viewer) for viewer in viewers]), flush=True)


if __name__ == "__main__":
    main()
