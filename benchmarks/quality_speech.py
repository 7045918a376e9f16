"""Lip-sync, opening, closing and liveliness of avatars that say held-out speech."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
import torch
from torch import Tensor

from .quality_set import QualitySet
from .quality_signals import agreement, best_lag, close_times_ms, loudness, motion
from .quality_watch import Watch

# a mouth counts as closed below this share of the way from closed to open
CLOSED_SHARE = 0.3
_SILENCE_S = 0.8
_ENVELOPE_FRAMES = 3
_HUMAN_FILES, _HUMAN_S = 12, 8
_TYPES = {".g722", ".wav", ".flac", ".ogg", ".mp3", ".m4a"}


@dataclass(slots=True)
class Speech:
    """What was read from the frames of all clips."""

    by_look: dict[str, list[float]] = field(default_factory=dict)
    amplitude: dict[str, list[float]] = field(default_factory=dict)
    motion: dict[str, list[float]] = field(default_factory=dict)
    close_ms: list[float] = field(default_factory=list)
    pairs: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def wrong_audio(self) -> float:
        """Agreement of every reading with the truth of other speech."""
        truths = [true for _, true in self.pairs]
        turned = truths[3:] + truths[:3]
        scores = [agreement(read, true) for (read, _), true in zip(self.pairs, turned, strict=True)]
        return float(np.mean(scores))

    def lag(self) -> int:
        """Frames by which the lips are late."""
        return best_lag(self.pairs)


def measure_speech(watch: Watch, reference: QualitySet, looks: Sequence[int]) -> Speech:
    """Let every look say its held-out clips."""
    result, info = Speech(), watch.model.info
    for look in looks:
        entry = reference.looks[look]
        closed_below = entry.closed + CLOSED_SHARE * (entry.opened - entry.closed)
        for clip in reference.speech_of(look):
            silence = np.zeros(round(_SILENCE_S * info.sample_rate), np.int16)
            audio = np.concatenate([clip.audio, silence])
            frames = watch.speak(entry.name, audio)
            read = reference.mouth(frames)
            said = read[: len(clip.gap)]
            result.pairs.append((said, clip.gap))
            result.by_look.setdefault(entry.name, []).append(agreement(said, clip.gap))
            spread = float(said.std()) / clip.spread
            result.amplitude.setdefault(entry.name, []).append(spread)
            moved = motion(frames[: len(clip.gap)]) / entry.motion
            result.motion.setdefault(entry.name, []).append(moved)
            level = loudness(audio, info.fps, info.sample_rate)
            result.close_ms += close_times_ms(read, level, closed_below, info.fps)
    return result


def human_lip_sync(
    watch: Watch, reference: QualitySet, looks: Sequence[int], folder: Path
) -> float | None:
    """Agreement of the mouth with the loudness of recordings in `folder`; None if it has none.

    There is no true lip gap for a recording: its smoothed loudness in decibels stands in.
    """
    info = watch.model.info
    scores = []
    paths = sorted(p for p in folder.rglob("*") if p.suffix in _TYPES)
    for path in paths:
        audio = decode(path)
        if len(audio) < 2 * info.sample_rate or len(scores) >= _HUMAN_FILES:
            continue
        audio = audio[: _HUMAN_S * info.sample_rate]
        look = reference.looks[looks[len(scores) % len(looks)]].name
        level = loudness(audio, info.fps, info.sample_rate)
        frames = watch.speak(look, audio)[: len(level)]
        scores.append(agreement(reference.mouth(frames), envelope(level)))
    return float(np.mean(scores)) if scores else None


def envelope(level: np.ndarray) -> Tensor:
    """Loudness in dB over a floor 35 dB below the loudest, smoothed over three frames."""
    decibels = 20 * np.log10(np.maximum(level, 1.0))
    above = np.maximum(decibels - decibels.max() + 35, 0)
    kernel = np.ones(_ENVELOPE_FRAMES) / _ENVELOPE_FRAMES
    return torch.from_numpy(np.convolve(above, kernel, "same")).float()


def decode(path: Path) -> np.ndarray:
    """int16 mono samples at 16 kHz of an audio file."""
    resampler = av.AudioResampler("s16", "mono", 16_000)
    kind = "g722" if path.suffix == ".g722" else None
    with av.open(str(path), format=kind) as file:
        frames = [out for frame in file.decode(audio=0) for out in resampler.resample(frame)]
    frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])
