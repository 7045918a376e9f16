"""A voice agent's mouth: speak a sound file through a live avatar and keep the video.

    rollcast serve --no-open
    python examples/voice_agent.py hello.wav hello.mp4

A real agent would feed the samples of its speech synthesis as they come, with `stream.feed`, end
each utterance with `stream.end_audio`, and call `stream.clear_audio` when the user interrupts.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from rollcast.client import Frame, Stream, connect
from rollcast.client.audio_file import load_speech
from rollcast.client.mp4 import Mp4Writer
from rollcast.client.output_file import OutputFile

TAIL_US = 400_000
RATE = 24_000
"""Samples per second, as many speech synthesisers give; the server takes 8000 to 48,000."""


async def speak(url: str, sound: Path, video: Path, scene: str | None) -> None:
    """Speak `sound` on the server at `url` and write what is seen and heard to `video`."""
    speech = load_speech(sound, rate=RATE)
    async with connect(url, scene=scene, audio_rate=RATE, pace="reader") as stream:
        ready = stream.ready
        shape = {"width": ready.width, "height": ready.height, "fps": ready.fps}
        with (
            OutputFile(video) as file,
            Mp4Writer(file, **shape, sample_rate=ready.sample_rate) as writer,
        ):
            saying = asyncio.create_task(stream.say(speech))
            async for media in stream:
                if isinstance(media, Frame):
                    writer.write_frame(media.image, media.pts_us)
                else:
                    writer.write_audio(media.samples, media.pts_us)
                if saying.done() and has_finished(stream, media.pts_us):
                    break


def has_finished(stream: Stream, shown_us: float) -> bool:
    """Whether the avatar had fallen silent a moment before what is shown now."""
    state = stream.state
    if state is None or state.received or state.talking:
        return False
    return shown_us > state.pts_us + TAIL_US


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description="Speak a sound file.")
    parser.add_argument("sound", type=Path)
    parser.add_argument("video", type=Path)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--scene", help="an avatar of the server")
    given = parser.parse_args()
    asyncio.run(speak(given.url, given.sound, given.video, given.scene))


if __name__ == "__main__":
    main()
