"""Past frames packed into few tokens, the coarser the older (FramePack, as in Wan2.2-S2V)."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .rope import Grid

# Frames of each bucket, from the newest back; and how its tokens cover time, rows and columns.
_BUCKETS = ((1, (1, 2, 2)), (2, (2, 4, 4)), (16, (4, 8, 8)))
PACKED_FRAMES = sum(frames for frames, _ in _BUCKETS)


class FramePacker(nn.Module):
    """The last 19 latent frames as tokens: the newest in full, then 2 at half, 16 at a quarter."""

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__()
        self.proj, self.proj_2x, self.proj_4x = (
            nn.Conv3d(channels, dim, kernel, stride=kernel) for _, kernel in _BUCKETS
        )

    def forward(self, motion: Tensor) -> Tensor:
        """Tokens [B, N, d] of `motion` [B, F, C, h, w]; missing old frames are zeros."""
        missing = max(0, PACKED_FRAMES - motion.shape[1])
        frames = F.pad(motion.transpose(1, 2)[:, :, -PACKED_FRAMES:], (0, 0, 0, 0, missing, 0))
        parts: list[Tensor] = []
        end = PACKED_FRAMES
        for layer, (count, _) in zip(
            (self.proj, self.proj_2x, self.proj_4x), _BUCKETS, strict=True
        ):
            parts.append(layer(frames[:, :, end - count : end]).flatten(2).transpose(1, 2))
            end -= count
        return torch.cat(parts, dim=1)


def packed_places(height: int, width: int) -> tuple[Grid, ...]:
    """Positions of the tokens of `height` x `width` latents, before frame 0, bucket by bucket.

    A token stands at one of the frames, rows and columns that it covers, spread evenly from the
    first to the last and rounded down.
    """
    grids: list[Grid] = []
    oldest = 0
    for count, (time, rows, columns) in _BUCKETS:
        oldest += count
        frames = _spread(oldest, oldest - count + 1, count // time)
        grids.append(
            Grid(
                tuple(-frame for frame in frames),
                _spread(0, height // 2 - 1, height // rows),
                _spread(0, width // 2 - 1, width // columns),
            )
        )
    return tuple(grids)


def _spread(first: int, last: int, count: int) -> tuple[int, ...]:
    return tuple(np.linspace(first, last, count).astype(int).tolist())
