"""A video redrawn by a model that looks at video, as a webcam would be: a file in, a file out.

    rollcast serve --no-open --model NAME --weights FOLDER
    python examples/video_to_video.py dance.mp4 painted.mp4 --prompt "an oil painting of a dancer"

A real webcam would hand its frames, uint8 RGB [height, width, 3] or JPEGs, to
`stream.feed_video` as they come.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from rollcast.client import Stream, connect
from rollcast.client.mp4 import Mp4Writer
from rollcast.client.output_file import OutputFile
from rollcast.client.video_frames import video_frames


async def film(stream: Stream, video: Path) -> None:
    """Send the frames of a video file at the size and the pace that the model names."""
    model = stream.model
    looks_at = model.inputs.video
    if looks_at is None:
        raise SystemExit(f"{model.title} looks at no video; serve a model that does")
    size = {"width": looks_at.width, "height": looks_at.height, "fps": looks_at.fps}
    loop = asyncio.get_running_loop()
    begin_s = loop.time()
    for number, frame in enumerate(video_frames(video, **size)):
        await asyncio.sleep(begin_s + number / looks_at.fps - loop.time())
        await stream.feed_video(frame)


async def run(url: str, seen: Path, made: Path, prompt: str | None) -> None:
    """Redraw the video `seen` on the server at `url` into `made`, until it is over."""
    async with connect(url, prompt=prompt) as stream:
        filming = asyncio.create_task(film(stream, seen))
        ready = stream.ready
        with (
            OutputFile(made) as file,
            Mp4Writer(file, width=ready.width, height=ready.height, fps=ready.fps) as writer,
        ):
            async for frame in stream.frames():
                writer.write_frame(frame.image, frame.pts_us)
                if filming.done():
                    break
        await filming
        if stream.stats is not None:
            print(f"{stream.stats.video_frames} frames seen")


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description="Redraw a video.")
    parser.add_argument("seen", type=Path)
    parser.add_argument("made", type=Path)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--prompt")
    given = parser.parse_args()
    asyncio.run(run(given.url, given.seen, given.made, given.prompt))


if __name__ == "__main__":
    main()
