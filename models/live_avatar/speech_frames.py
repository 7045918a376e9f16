"""Speech features of a wav2vec encoder, 50 a second, laid out by video frame (Wan2.2-S2V)."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..upload import uploaded

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


def live_frames(features: Tensor, first: int, frames: Sequence[int], *, fps: int) -> Tensor:
    """The features [N, layers, C] of these video frames of a stream whose end is not known.

    `features` [layers, T, C] are 50 a second, the first of them feature `first` of the stream. It
    is `to_video_rate` and `features_of_frames` of a file that never ends: of T features the
    published code stretches the last but two thirds of a place onto the last, 13 ms at the end of a
    file and less before. Raises ValueError where features are missing.
    """
    stretch = Fraction(FEATURE_RATE, VIDEO_RATE)
    places = [stretch * round(Fraction(frame * VIDEO_RATE, fps)) for frame in frames]
    below = [int(place) - first for place in places]
    above = [-int(-place // 1) - first for place in places]
    if min(below) < 0 or max(above) >= features.shape[1]:
        raise ValueError(
            f"features {first} to {first + features.shape[1]}; video frames {list(frames)} need "
            f"{min(below) + first} to {max(above) + first + 1}"
        )
    share = torch.tensor([float(place % 1) for place in places], dtype=features.dtype)
    share = uploaded(share, features.device)[None, :, None]
    low, high = (uploaded(torch.tensor(each), features.device) for each in (below, above))
    return torch.lerp(
        features.index_select(1, low), features.index_select(1, high), share
    ).transpose(0, 1)
