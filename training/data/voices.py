"""Speech with timed phonemes from two synthesizers, flite and espeak-ng."""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.data.assets import Floats, MissingAssetError
from training.data.visemes import Phoneme

TRAIN_FLITE = ("slt", "rms", "kal", "kal16")
TEST_FLITE = ("awb",)
TRAIN_ESPEAK = ("en", "en-us", "en-gb-x-rp", "en-029", "en-gb-x-gbclan", "en-us+f2", "en+f4",
                "en-us+m3", "en-gb-x-rp+f3", "en-gb-x-gbcwmd+m7", "en-029+f5",
                "en-us+m5", "en+m2", "en-gb-x-rp+m4", "en-029+m6", "en+f3", "en-us+m1",
                "en-gb-x-gbclan+f2",
                "en-us+klatt3", "en-gb-x-rp+f5", "en+m8", "en-us+f4")  # fmt: skip
TEST_ESPEAK = ("en-gb-scotland+f1",)
_TRAIN_VARIANTS = ("", "+f2", "+m3", "+f4", "+m1", "+m7", "+f5")
_TEST_VARIANTS = ("+f1", "+m4")
TIMEOUT_S = 600


def voices_of(language: str, split: str) -> tuple[str, ...]:
    """espeak-ng's voices of another language than English; `train` and `test` share none."""
    variants = _TRAIN_VARIANTS if split == "train" else _TEST_VARIANTS
    return tuple(language + variant for variant in variants)


@dataclass(frozen=True)
class Utterance:
    """Samples -1..1 at `rate` Hz with the sounds' end times."""

    samples: Floats
    rate: int
    phonemes: tuple[Phoneme, ...]


def speak(engine: str, voice: str, text: str, stretch: float = 1.0) -> Utterance:
    """Speak text with `flite` or `espeak`; stretch above 1 is slower.

    Raises MissingAssetError when the synthesizer is not installed.
    """
    return _flite(voice, text, stretch) if engine == "flite" else _espeak(voice, text, stretch)


def _flite(voice: str, text: str, stretch: float) -> Utterance:
    program = shutil.which("flite")
    if program is None:
        raise MissingAssetError("no speech program `flite`: run `apt-get install flite`")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        done = subprocess.run(
            [program, "-voice", voice, "-psdur", "--setf", f"duration_stretch={stretch:.2f}",
             "-t", text, "-o", str(path)],
            capture_output=True, text=True, check=True, timeout=TIMEOUT_S,
        )  # fmt: skip
        with wave.open(str(path)) as sound:
            rate = sound.getframerate()
            raw = np.frombuffer(sound.readframes(sound.getnframes()), "<i2")
    ends = re.findall(r"([a-z]+):([\d.]+)", done.stdout)
    phonemes = tuple(Phoneme(name, float(end)) for name, end in ends)
    return Utterance(raw.astype(np.float32) / 32768, rate, phonemes)


def _espeak(voice: str, text: str, stretch: float) -> Utterance:
    program = [sys.executable, "-I", str(Path(__file__).with_name("espeak_process.py"))]
    done = subprocess.run(
        [*program, voice, str(int(165 / stretch)), text], capture_output=True, timeout=TIMEOUT_S
    )
    if done.returncode:
        raise MissingAssetError(
            f"espeak-ng cannot speak as {voice!r}: run `apt-get install espeak-ng` (version 1.51)"
        )
    line, _, raw = done.stdout.partition(b"\n")
    header = json.loads(line)
    samples = np.frombuffer(raw, "<i2").astype(np.float32) / 32768
    # espeak-ng also tells when it takes another language's rules for a word, as "(en)"
    events = [(name, start) for name, start in header["events"] if not name.startswith("(")]
    starts = [start / 1000 for _, start in events]
    ends = [*starts[1:], len(samples) / header["rate"]]
    language = voice.partition("+")[0]
    prefix = "e" if language.startswith("en") else language
    sounds = [Phoneme(f"{prefix}:{n}", e) for (n, _), e in zip(events, ends, strict=True)]
    first = [Phoneme("pau", starts[0])] if starts else []
    return Utterance(samples, header["rate"], tuple(first + sounds))
