"""What tiny decoders and encoders in TAEHV's format are built of.

As published (github.com/madebyollin/taehv, MIT). Frames are [B, T, C, h, w]; all but the blocks
with a memory see each frame alone.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .vae_layers import Memory, Streaming, empty_like_weight

BLOCKS = 3
"""With a memory, of each level."""


class MemoryBlock(Streaming):
    """Convolutions over each frame of [B, T, C, h, w] and the one before it, at first zeros."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            conv(2 * width, width),
            nn.ReLU(inplace=True),
            conv(width, width),
            nn.ReLU(inplace=True),
            conv(width, width),
        )

    def stream(self, x: Tensor, memory: Memory) -> Tensor:
        before, width = memory.get(self.name), x.shape[2]
        memory[self.name] = x[:, -1:].clone()
        frames = x.flatten(0, 1)
        shape = (len(frames), 2 * width, *frames.shape[2:])
        seen = empty_like_weight(next(self.conv.parameters()), shape)
        pairs = seen.unflatten(0, x.shape[:2])
        pairs[:, :, :width] = x
        pairs[:, 1:, width:] = x[:, :-1]
        pairs[:, :1, width:] = 0 if before is None else before
        return F.relu(self.conv(seen).unflatten(0, x.shape[:2]).add_(x), inplace=True)


def conv(inputs: int, outputs: int, *, bias: bool = True, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias, stride=stride)


def through_frames(layers: nn.Sequential, x: Tensor, memory: Memory) -> Tensor:
    """[B, T', C', h', w'] of `x` [B, T, C, h, w], through one layer after another.

    Behind an `nn.Upsample` comes what sees each pixel alone: it is made first, of fewer pixels.
    """
    batch, growing = x.shape[0], None
    for layer in layers:
        if isinstance(layer, MemoryBlock):
            x = layer.stream(x, memory)
        elif isinstance(layer, nn.Upsample):
            growing = layer
        else:
            frames = layer(x.flatten(0, 1))
            if growing is not None:
                frames, growing = growing(frames), None
            x = frames.unflatten(0, (batch, -1))
    return x
