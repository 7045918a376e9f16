"""Speech features of a wav2vec encoder, 50 a second, laid out by video frame (Wan2.2-S2V)."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

FEATURE_RATE = 50
VIDEO_RATE = 30


def to_video_rate(features: Tensor) -> Tensor:
    """[layers, int(T * 3 / 5), C] of `features` [layers, T, C]: both ends kept, linear between."""
    frames = int(features.shape[1] / FEATURE_RATE * VIDEO_RATE)
    return F.interpolate(
        features.transpose(1, 2), size=frames, mode="linear", align_corners=True
    ).transpose(1, 2)


def features_of_frames(features: Tensor, *, fps: int, batch_frames: int) -> tuple[Tensor, int]:
    """The features [N, layers, C] of each video frame, and the batches of `batch_frames` in N.

    `features` [layers, T, C] are at 30 Hz; each frame takes the nearest, frames behind their end
    take zeros. There is always one batch that is not full, as published.
    """
    frames = features.shape[1]
    batches = int(frames / (batch_frames * VIDEO_RATE / fps)) + 1
    count = batches * batch_frames
    times = np.linspace(0, count / fps, count, endpoint=False)
    nearest = torch.from_numpy(np.round(times * VIDEO_RATE).astype(np.int64))
    by_frame = features.transpose(0, 1)
    rows = by_frame[nearest.clamp(max=frames - 1)]
    return rows * (nearest < frames)[:, None, None].to(rows.dtype), batches
