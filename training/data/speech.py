"""Clips of speech with silences, changed voices and rooms, and their mouth shapes."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.signal import fftconvolve, resample

from training.data import languages, vocabulary
from training.data.assets import Floats
from training.data.visemes import FRAME_HZ, SAMPLE_HZ, Phoneme, viseme_track
from training.data.voices import (
    TEST_ESPEAK,
    TEST_FLITE,
    TRAIN_ESPEAK,
    TRAIN_FLITE,
    Utterance,
    speak,
    voices_of,
)  # fmt: skip

SAMPLES_PER_FRAME = SAMPLE_HZ // FRAME_HZ


_VOICES = {
    ("flite", "train"): TRAIN_FLITE,
    ("flite", "test"): TEST_FLITE,
    ("espeak", "train"): TRAIN_ESPEAK,
    ("espeak", "test"): TEST_ESPEAK,
}


@dataclass(frozen=True)
class SpeechClip:
    """Sound, mouth shapes and what was said."""

    audio: npt.NDArray[np.int16]
    visemes: Floats
    phonemes: tuple[Phoneme, ...]
    voices: tuple[str, ...]
    texts: tuple[str, ...]


def speech_clip(
    rng: np.random.Generator,
    frames: int,
    split: str,
    espeak_share: float = 0.35,
    language: str = "en",
    voices: str | None = None,
) -> SpeechClip:
    """Make frames * 640 samples of speech and silence with one voice.

    split: `train` or `test`; the two share neither voices nor words. espeak_share is the chance
    of an espeak-ng voice instead of a flite one, which speak English alone. `voices` is the split
    that the voice is of, where it is not that of the words.
    """
    engine = "espeak" if rng.random() < espeak_share or language != "en" else "flite"
    of = voices or split
    heard = _VOICES[engine, of] if language == "en" else voices_of(language, of)
    voice = heard[int(rng.integers(len(heard)))]
    said = _Said(split, language, engine, voice)
    samples, phonemes, texts = _talk(rng, frames / FRAME_HZ, said)
    length = frames * SAMPLES_PER_FRAME
    visemes = viseme_track(phonemes, frames, samples[:length])
    samples = _room(rng, samples[:length])
    audio = np.clip(np.round(samples * 32767), -32768, 32767).astype(np.int16)
    return SpeechClip(audio, visemes, tuple(phonemes), (f"{engine}:{voice}",), tuple(texts))


@dataclass(frozen=True)
class _Said:
    """Which words in which voice."""

    split: str
    language: str
    engine: str
    voice: str

    def sentence(self, rng: np.random.Generator) -> str:
        if self.language == "en":
            return vocabulary.sentence(rng, self.split)
        return languages.sentence(rng, self.language, self.split)


def _talk(
    rng: np.random.Generator, seconds: float, said: _Said
) -> tuple[Floats, list[Phoneme], list[str]]:
    pitch, level, stretch = rng.uniform(0.85, 1.18), rng.uniform(0.18, 0.85), rng.uniform(0.85, 1.2)
    long_silence = rng.random() < 0.35
    pieces: list[Floats] = []
    phonemes: list[Phoneme] = []
    texts: list[str] = []
    now_s = _pause(pieces, phonemes, 0.0, rng.uniform(0.0, 0.6))
    if long_silence and rng.random() < 0.3:
        now_s, long_silence = _pause(pieces, phonemes, now_s, rng.uniform(1.2, 2.0)), False
    while now_s < seconds + 0.3:
        texts.append(said.sentence(rng))
        spoken = _shift(speak(said.engine, said.voice, texts[-1], stretch), pitch, level)
        pieces.append(spoken.samples)
        phonemes += [Phoneme(p.name, now_s + p.end_s) for p in spoken.phonemes]
        now_s += len(spoken.samples) / SAMPLE_HZ
        gap_s = rng.uniform(1.4, 2.4) if long_silence else rng.uniform(0.2, 1.2)
        long_silence = False
        now_s = _pause(pieces, phonemes, now_s, gap_s)
    return np.concatenate(pieces), phonemes, texts


def _pause(pieces: list[Floats], phonemes: list[Phoneme], now_s: float, gap_s: float) -> float:
    """Append silence on a whole number of samples; returns the new time."""
    count = int(gap_s * SAMPLE_HZ)
    pieces.append(np.zeros(count, np.float32))
    phonemes.append(Phoneme("pau", now_s + count / SAMPLE_HZ))
    return now_s + count / SAMPLE_HZ


def _shift(spoken: Utterance, pitch: float, level: float) -> Utterance:
    """Change pitch and formants together by resampling, to 16 kHz and a given peak level."""
    count = max(1, int(len(spoken.samples) * SAMPLE_HZ / spoken.rate / pitch))
    samples = np.asarray(resample(spoken.samples, count), np.float32)
    samples *= level / (float(np.abs(samples).max()) + 1e-6)
    moved = tuple(Phoneme(p.name, p.end_s / pitch) for p in spoken.phonemes)
    return Utterance(samples, SAMPLE_HZ, moved)


def _room(rng: np.random.Generator, samples: Floats) -> Floats:
    """Tone, echo and noise: what a microphone in a room adds."""
    if rng.random() < 0.5:
        spectrum = np.fft.rfft(samples)
        bend = np.interp(
            np.linspace(0, 1, len(spectrum)), np.linspace(0, 1, 6), rng.uniform(-9, 6, 6)
        )
        samples = np.fft.irfft(spectrum * 10 ** (bend / 20), len(samples)).astype(np.float32)
    if rng.random() < 0.4:
        decay = rng.uniform(0.03, 0.14)
        time_s = np.arange(int(decay * 4 * SAMPLE_HZ)) / SAMPLE_HZ
        echo = rng.normal(size=len(time_s)) * np.exp(-time_s / decay) * rng.uniform(0.01, 0.05)
        echo[0] = 1.0
        samples = fftconvolve(samples, echo)[: len(samples)].astype(np.float32)
    noise = rng.normal(size=len(samples)) * 10 ** rng.uniform(-4.2, -2.3)
    return (np.clip(samples, -1, 1) + noise).astype(np.float32)


def loudness(audio: npt.NDArray[np.int16]) -> Floats:
    """Root mean square per frame, 0..1, of int16 samples [frames*640]."""
    blocks = audio.reshape(-1, SAMPLES_PER_FRAME).astype(np.float32) / 32768
    return np.sqrt((blocks**2).mean(1))
