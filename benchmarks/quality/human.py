"""Lip-sync on recordings of people, for which no true lip gap is known.

What stands in for it is the loudness of the part of the voice that comes through an open mouth,
500 to 3000 Hz: hum and hiss are loud with closed lips too. Lips lead it by a frame. Band and lead
are those with which the true gaps of rendered, held-out clips agree best; how well they do is part
of the report, since no mouth can be expected to agree better.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import torch
from torch import Tensor

from ...models.pocket.evaluation.evaluation_set import QualitySet
from ...models.pocket.evaluation.signals import agreement, to_levels
from ...models.pocket.evaluation.watch import Watch

_BAND_HZ = (500, 3000)
_LEAD_FRAMES = 1
_FLOOR_DB, _SMOOTH_FRAMES = 35, 3
_FILES, _LONGEST_S = 12, 8
_TYPES = {".g722", ".wav", ".flac", ".ogg", ".mp3", ".m4a"}


@dataclass(frozen=True, slots=True)
class Spoken:
    """A look that says a recording: frames uint8 [T, H, W, 3]; how far its lips are open, as read
    from them [T], and what stands in for the truth [T]."""

    look: str
    frames: np.ndarray
    gap: Tensor
    expected: Tensor

    @property
    def agreement(self) -> float:
        """Correlation of the two."""
        return follows(self.gap, self.expected)


def say_recordings(
    watch: Watch, reference: QualitySet, looks: Sequence[int], folder: Path
) -> Iterator[Spoken]:
    """Recordings of two seconds or more in `folder`, twelve at most, each said by the next look."""
    info, said = watch.model.info, 0
    for path in recordings(folder):
        audio = decode(path)
        if len(audio) < 2 * watch.sample_rate:
            continue
        audio = audio[: _LONGEST_S * watch.sample_rate]
        look = reference.looks[looks[said % len(looks)]].name
        expected = openness(audio, info.fps, watch.sample_rate)
        frames = watch.speak(look, audio)[: len(expected)]
        yield Spoken(look, to_levels(frames), reference.mouth(frames), expected)
        said += 1
        if said == _FILES:
            return


def best_possible(reference: QualitySet, fps: int) -> float:
    """Agreement of true lip gaps with what stands in for them, over the set's speech."""
    english = [clip for clip in reference.clips if clip.language == "en"]
    scores = [follows(clip.gap, openness(clip.audio, fps)) for clip in english]
    return float(np.mean(scores))


def follows(gap: Tensor, expected: Tensor) -> float:
    """Agreement of a lip gap [T] with `openness` [T], the lips first."""
    return agreement(gap[: len(expected)][:-_LEAD_FRAMES], expected[_LEAD_FRAMES:])


def openness(audio: np.ndarray, fps: int, sample_rate: int = 16_000) -> Tensor:
    """Loudness in the band, dB over a floor 35 below the loudest, for each frame of int16 samples.

    A frame is heard with half a frame before and behind it.
    """
    length = sample_rate // fps
    frames = len(audio) // length
    sound = np.pad(audio.astype(np.float32), (length // 2, length))
    views = np.stack([sound[t * length : (t + 2) * length] for t in range(frames)])
    power = np.abs(np.fft.rfft(views * np.hanning(2 * length))) ** 2
    low, high = (round(hz * 2 * length / sample_rate) for hz in _BAND_HZ)
    decibels = 10 * np.log10(power[:, low:high].sum(1) + 1.0)
    above = np.maximum(decibels - decibels.max() + _FLOOR_DB, 0)
    kernel = np.ones(_SMOOTH_FRAMES) / _SMOOTH_FRAMES
    return torch.from_numpy(np.convolve(above, kernel, "same")).float()


def recordings(folder: Path) -> list[Path]:
    """The audio files in a folder, by name."""
    return sorted(path for path in folder.rglob("*") if path.suffix in _TYPES)


def decode(path: Path) -> np.ndarray:
    """int16 mono samples at 16 kHz of an audio file."""
    resampler = av.AudioResampler("s16", "mono", 16_000)
    kind = "g722" if path.suffix == ".g722" else None
    with av.open(str(path), format=kind) as file:
        frames = [out for frame in file.decode(audio=0) for out in resampler.resample(frame)]
    frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])
