"""What is computed from frames and readings: sharpness, motion, agreement, closing, finding."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

# where every avatar's mouth is: rows and columns as shares of the frame
MOUTH_ROWS, MOUTH_COLUMNS = (0.60, 0.80), (0.36, 0.64)
LAGS = range(-3, 4)
QUIET = 200.0  # root mean square of int16 samples
_PAUSE_FRAMES, _SPEECH_FRAMES = 8, 3
_OPEN_WITHIN = 5  # frames before a pause


def to_signed(frames: np.ndarray | Tensor) -> Tensor:
    """uint8 [T, H, W, 3] -> -1..1 [T, 3, H, W]."""
    return torch.as_tensor(frames).movedim(-1, -3).float().div(127.5).sub(1)


def to_levels(frames: Tensor) -> np.ndarray:
    """The inverse of `to_signed`."""
    return ((frames.movedim(-3, -1) + 1) * 127.5).round().clamp(0, 255).byte().numpy()


def laplacian_energy(frames: Tensor) -> Tensor:
    """Squared Laplacian [T, H-2, W-2] of frames [T, 3, H, W], averaged over channels."""
    centre = frames[..., 1:-1, 1:-1]
    across = frames[..., 1:-1, :-2] + frames[..., 1:-1, 2:]
    down = frames[..., :-2, 1:-1] + frames[..., 2:, 1:-1]
    return (4 * centre - across - down).square().mean(-3)


def sharpness(frames: Tensor) -> tuple[float, float]:
    """Mean squared Laplacian of frames [T, 3, H, W]: of the whole, and of the mouth's place."""
    energy = laplacian_energy(frames)
    height, width = energy.shape[-2:]
    rows = slice(*(round(share * height) for share in MOUTH_ROWS))
    columns = slice(*(round(share * width) for share in MOUTH_COLUMNS))
    return float(energy.mean()), float(energy[..., rows, columns].mean())


def motion(frames: Tensor) -> float:
    """Mean absolute change from frame to frame of [T, 3, H, W]."""
    return float((frames[1:] - frames[:-1]).abs().mean())


def agreement(a: Tensor, b: Tensor) -> float:
    """Pearson correlation of two traces; 0 if one of them is constant."""
    a, b = a.flatten().float(), b.flatten().float()
    if float(a.std()) < 1e-6 or float(b.std()) < 1e-6:
        return 0.0
    return float(torch.corrcoef(torch.stack([a, b]))[0, 1])


def best_lag(pairs: list[tuple[Tensor, Tensor]]) -> int:
    """Frames by which the readings are late (negative: early) on the truths, on average."""
    scores = {}
    for lag in LAGS:
        cut = [
            (
                read[max(0, lag) : len(read) + min(0, lag)],
                true[max(0, -lag) : len(true) - max(0, lag)],
            )
            for read, true in pairs
        ]
        scores[lag] = sum(agreement(*pair) for pair in cut)
    return max(scores, key=lambda lag: scores[lag])


def loudness(audio: np.ndarray, fps: int, sample_rate: int = 16_000) -> np.ndarray:
    """Root mean square of each whole frame of int16 samples."""
    samples = sample_rate // fps
    frames = audio[: len(audio) // samples * samples].reshape(-1, samples).astype(np.float32)
    return np.sqrt((frames**2).mean(1))


def said_again(audio: np.ndarray, chunk: int, samples: int) -> np.ndarray:
    """What a chunk of so many samples has of `audio` that is said over and over; empty if it is."""
    if not len(audio):
        return audio
    return audio[np.arange(chunk * samples, (chunk + 1) * samples) % len(audio)]


def close_times_ms(read: Tensor, level: np.ndarray, closed_below: float, fps: int) -> list[float]:
    """How long the mouth stays open after speech, for each pause of 8 frames or more.

    A mouth that stays open for the whole pause counts with the pause's length. Pauses before
    which it was closed already tell nothing and are left out.
    """
    quiet = level[: len(read)] < QUIET
    times = []
    for start in range(_SPEECH_FRAMES, len(quiet) - _PAUSE_FRAMES + 1):
        speech = not quiet[start - _SPEECH_FRAMES : start].any()
        if not (speech and quiet[start : start + _PAUSE_FRAMES].all()):
            continue
        if float(read[max(0, start - _OPEN_WITHIN) : start].max()) < closed_below:
            continue
        loud = np.flatnonzero(~quiet[start:])
        end = start + int(loud[0]) if len(loud) else len(quiet)
        closed = (read[start:end] < closed_below).nonzero()
        wait = int(closed[0, 0]) if len(closed) else end - start
        times.append(wait * 1000 / fps)
    return times


def patch(frame: Tensor, centre: tuple[float, float], half: float) -> Tensor:
    """The square of `frame` [3, H, W] around `centre`; all in shares of the width."""
    width = frame.shape[-1]
    x, y, reach = round(centre[0] * width), round(centre[1] * width), max(4, round(half * width))
    return frame[:, max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]


def find(frame: Tensor, template: Tensor) -> tuple[float, float]:
    """Centre (x, y), in shares of the width, of the best match of `template` in `frame`."""
    ones = torch.ones_like(template)
    energy = F.conv2d(frame[None].square(), ones[None])
    score = (energy - 2 * F.conv2d(frame[None], template[None]))[0, 0]
    y, x = divmod(int(score.argmin()), score.shape[1])
    width = frame.shape[-1]
    return (x + template.shape[2] // 2) / width, (y + template.shape[1] // 2) / width
