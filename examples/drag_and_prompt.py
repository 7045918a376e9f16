"""A scripted hand: drag a point in a circle, change the prompt half-way, keep the video.

rollcast serve --no-open
python examples/drag_and_prompt.py drag.mp4 --prompt "fish in the sea"
"""

from __future__ import annotations

import argparse
import asyncio
from math import cos, pi, sin
from pathlib import Path

from rollcast.client import Stream, TrackPoint, connect
from rollcast.client.mp4 import Mp4Writer
from rollcast.client.output_file import OutputFile

STEPS_PER_S = 25


async def drag(stream: Stream, seconds: float) -> None:
    """Press in the middle, go round once in this time, let go."""
    await stream.tracks([TrackPoint(id=0, phase="down", x=0.5, y=0.5)])
    steps = int(seconds * STEPS_PER_S)
    for step in range(steps):
        angle, radius = 2 * pi * step / steps, 0.25 * min(1.0, 4 * step / steps)
        x, y = 0.5 + radius * sin(angle), 0.5 - radius * cos(angle)
        await stream.tracks([TrackPoint(id=0, phase="move", x=x, y=y)])
        await asyncio.sleep(1 / STEPS_PER_S)
    await stream.tracks([TrackPoint(id=0, phase="up", x=0.5, y=0.5)])


async def change(stream: Stream, prompt: str, at_s: float) -> None:
    """Another prompt at this time, blended over four chunks."""
    while stream.position_us < at_s * 1e6:
        await asyncio.sleep(0.02)
    applied = await stream.prompt(prompt, transition_chunks=4)
    if applied.ignored_words:
        print("words the model does not know:", ", ".join(applied.ignored_words))


async def run(url: str, video: Path, scene: str | None, prompt: str, seconds: float) -> None:
    """Steer a stream of the server at `url` for so long and write it to `video`."""
    async with connect(url, scene=scene) as stream, asyncio.TaskGroup() as group:
        helpers = [
            group.create_task(drag(stream, seconds - 1)),
            group.create_task(change(stream, prompt, seconds / 2)),
        ]
        ready = stream.ready
        with (
            OutputFile(video) as file,
            Mp4Writer(file, width=ready.width, height=ready.height, fps=ready.fps) as writer,
        ):
            async for frame in stream.frames():
                if frame.pts_us >= seconds * 1e6:
                    break
                writer.write_frame(frame.image, frame.pts_us)
        for helper in helpers:
            helper.cancel()


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description="Drag and prompt.")
    parser.add_argument("video", type=Path)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--scene", help="an avatar or scene of the server")
    parser.add_argument("--prompt", default="fish in the sea")
    parser.add_argument("--seconds", type=float, default=6.0, help="of video")
    given = parser.parse_args()
    asyncio.run(run(given.url, given.video, given.scene, given.prompt, given.seconds))


if __name__ == "__main__":
    main()
