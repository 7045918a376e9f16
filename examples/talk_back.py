"""An avatar that says back what it heard, with nothing but this machine.

    sudo apt install pocketsphinx pocketsphinx-en-us espeak-ng
    rollcast serve --no-open
    python examples/talk_back.py              # a microphone
    python examples/talk_back.py question.wav # or a file

A recogniser (pocketsphinx) hears sentences, a synthesiser (espeak-ng) says them, and the avatar
speaks; say something else meanwhile and it stops. It prints an address at which it is seen.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import tempfile
import wave
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from rollcast.client import Disconnected, Refused, Stream, connect
from rollcast.client.audio_file import load_speech
from rollcast.client.talker import Talker

VOICE_RATE = 22_050
"""At which espeak-ng speaks."""
HEARING_RATE = 16_000
TAIL_S = 0.4


def as_wave(samples: np.ndarray) -> bytes:
    """Int16 [n] of a sentence between silences, as the recogniser reads it."""
    silence = np.zeros(HEARING_RATE, np.int16)
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, HEARING_RATE, 0, "NONE", ""))
        file.writeframes(np.concatenate((silence, samples, silence)).tobytes())
    return buffer.getvalue()


async def heard(sound: Path | None, folder: Path) -> AsyncIterator[str]:
    """Sentences as they are recognised, of a file or of the microphone, in small letters."""
    if sound is None:
        source = ["-inmic", "yes"]
    else:
        plain = folder / "heard.wav"
        plain.write_bytes(as_wave(load_speech(sound, rate=HEARING_RATE)))
        source = ["-infile", str(plain)]
    process = await asyncio.create_subprocess_exec(
        *("pocketsphinx_continuous", "-logfn", "/dev/null", *source),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        while line := await process.stdout.readline():
            if (text := line.decode().strip()) and text not in ("READY....", "Listening..."):
                yield text
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def spoken(text: str) -> np.ndarray:
    """The text as espeak-ng says it, int16 [n] at `VOICE_RATE`."""
    process = await asyncio.create_subprocess_exec(
        *("espeak-ng", "-v", "en", "--stdout", "--", text), stdout=asyncio.subprocess.PIPE
    )
    data, _ = await process.communicate()
    # piped, its header does not say how long it is
    return np.frombuffer(data[44 : len(data) // 2 * 2], "<i2").astype(np.int16)


async def talk_back(stream: Stream, sound: Path | None, folder: Path) -> list[str]:
    """Say everything that is heard, and return it when no more comes."""
    talker, said = Talker(stream), []
    speaking = asyncio.create_task(talker.run())
    last = None
    try:
        async for text in heard(sound, folder):
            print(f"heard: {text}", flush=True)
            if last is not None and not last.over.done():
                await talker.interrupt()
            said.append(text)
            last = talker.begin(VOICE_RATE)
            last.write(await spoken(text))
            last.end()
        if last is not None:
            await last.over
            await asyncio.sleep(TAIL_S)
    finally:
        speaking.cancel()
        await asyncio.gather(speaking, return_exceptions=True)
    return said


async def run(url: str, sound: Path | None, folder: Path, scene: str | None = None) -> list[str]:
    """Open a stream, show where it is seen, and talk back."""
    async with connect(url, scene=scene, audio_rate=VOICE_RATE, decode=False) as stream:
        print(f"see and hear the avatar at {await stream.share()}", flush=True)

        async def play() -> None:
            with suppress(Disconnected, Refused):
                async for _ in stream:
                    pass

        playing = asyncio.create_task(play())
        try:
            return await talk_back(stream, sound, folder)
        finally:
            playing.cancel()
            await asyncio.gather(playing, return_exceptions=True)


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description="Say back what is heard.")
    parser.add_argument("sound", type=Path, nargs="?", help="a file; without it, a microphone")
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--scene", help="an avatar of the server")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(given.url, given.sound, Path(folder), given.scene))


if __name__ == "__main__":
    main()
