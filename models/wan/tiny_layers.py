"""What tiny decoders and encoders in TAEHV's format are built of.

As published (github.com/madebyollin/taehv, MIT). Frames are [B, T, C, h, w]; all but the blocks
with a memory see each frame alone.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .vae_layers import Memory, Streaming

BLOCKS = 3
"""With a memory, of each level."""


class MemoryBlock(Streaming):
    """Convolutions over each frame of [B, T, C, h, w] and the one before it, at first zeros."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            conv(2 * width, width), nn.ReLU(), conv(width, width), nn.ReLU(), conv(width, width)
        )

    def stream(self, x: Tensor, memory: Memory) -> Tensor:
        before = memory.get(self.name)
        if before is None:
            before = torch.zeros_like(x[:, :1])
        memory[self.name] = x[:, -1:].clone()
        past = torch.cat((before, x[:, :-1]), dim=1)
        seen = torch.cat((x, past), dim=2).flatten(0, 1)
        return F.relu(self.conv(seen).unflatten(0, x.shape[:2]) + x)


def conv(inputs: int, outputs: int, *, bias: bool = True, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias, stride=stride)


def through_frames(layers: nn.Sequential, x: Tensor, memory: Memory) -> Tensor:
    """[B, T', C', h', w'] of `x` [B, T, C, h, w], through one layer after another."""
    for layer in layers:
        if isinstance(layer, MemoryBlock):
            x = layer.stream(x, memory)
        else:
            x = layer(x.flatten(0, 1)).unflatten(0, (x.shape[0], -1))
    return x
