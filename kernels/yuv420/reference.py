"""The definition of YUV420 with limited-range BT.601, in float64.

Weights of ITU-R BT.601-7, section 2.5; how chroma is made half as high is as libswscale does it in
8.1 (measured with impulses): columns in pairs, rows with 1/8, 3/8, 3/8, 1/8, edges repeated.
"""

from __future__ import annotations

import torch
from torch import Tensor

RED, GREEN, BLUE = 0.299, 0.587, 0.114
LUMA, CHROMA = 219 / 255, 224 / 255
ROWS = (0.125, 0.375, 0.375, 0.125)
"""Weights of the rows that a row of chroma is made of: that before its pair, the pair, the next."""


def yuv420_ref(frames: Tensor) -> Tensor:
    """As `yuv420.yuv420`, with values float64 that are not rounded."""
    height, width = frames.shape[2:]
    levels = frames.double().add(1).mul(127.5).round().clamp(0, 255)
    red, green, blue = levels.unbind(1)
    luma = RED * red + GREEN * green + BLUE * blue
    differences = torch.stack(((blue - luma) / (1 - BLUE), (red - luma) / (1 - RED)), dim=1) / 2
    rows = torch.arange(height + height % 2).clamp_max(height - 1)
    columns = torch.arange(width + width % 2).clamp_max(width - 1)
    pairs = differences[..., columns].unflatten(3, (-1, 2)).mean(4)
    halves = torch.zeros_like(pairs[:, :, rows[::2]])
    for k, weight in enumerate(ROWS):
        halves += weight * pairs[:, :, (rows[::2] + k - 1).clamp(0, height - 1)]
    whole = 16 + LUMA * luma[:, rows][..., columns]
    return torch.cat((whole.flatten(1), (128 + CHROMA * halves).flatten(1)), 1).unflatten(
        1, (-1, len(columns))
    )
