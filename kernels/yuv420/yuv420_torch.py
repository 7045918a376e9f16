"""Frames as YUV420 by torch's own operators."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .reference import BLUE, CHROMA, GREEN, LUMA, RED, ROWS


def yuv420_torch(frames: Tensor) -> Tensor:
    """As `yuv420.yuv420`."""
    height, width = frames.shape[2:]
    levels = frames.float().add(1).mul_(127.5).round_().clamp_(0, 255)
    # what is no number is black, as in the kernel
    levels.nan_to_num_(0)
    if height % 2 or width % 2:
        levels = F.pad(levels, (0, width % 2, 0, height % 2), mode="replicate")
    red, green, blue = levels.unbind(1)
    luma = (RED * red).add_(green, alpha=GREEN).add_(blue, alpha=BLUE)
    pairs = torch.stack((blue - luma, red - luma), dim=1).unflatten(3, (-1, 2)).sum(4)
    rows = F.pad(pairs, (0, 0, 1, 1), mode="replicate")
    count = pairs.shape[2]
    halves = ROWS[0] * rows[:, :, :count:2]
    for k in range(1, len(ROWS)):
        halves.add_(rows[:, :, k : k + count : 2], alpha=ROWS[k])
    # a pair is a sum of two, and a difference counts half
    halves[:, 0] *= CHROMA / (4 * (1 - BLUE))
    halves[:, 1] *= CHROMA / (4 * (1 - RED))
    whole = luma.mul_(LUMA).add_(16.5)
    parts = whole.flatten(1), halves.add_(128.5).flatten(1)
    return torch.cat(parts, dim=1).to(torch.uint8).unflatten(1, (-1, levels.shape[3]))
