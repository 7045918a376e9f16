"""Three-axis rotary positions for any frame number (after Wan 2.1, Apache-2.0).

Rotations are unit complex numbers, one per adjacent pair of head elements. Angles are made in
float64 from integer positions and only then rounded, so frame 10**7 is as exact as frame 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

THETA = 10_000.0


class RopeTable:
    """Rotations of a grid of `rows` x `columns` tokens per frame, for heads of `head_dim`.

    The spatial part is fixed; the temporal part is computed for the frames asked for.
    """

    def __init__(
        self, head_dim: int, rows: int, columns: int, *, device: torch.device | str = "cpu"
    ) -> None:
        spatial = 2 * (head_dim // 6)
        self.tokens_per_frame = rows * columns
        self.device = torch.device(device)
        self._frame_ladder = ladder(head_dim - 2 * spatial)
        row = torch.outer(torch.arange(rows, dtype=torch.float64), ladder(spatial))
        column = torch.outer(torch.arange(columns, dtype=torch.float64), ladder(spatial))
        # [rows * columns, spatial] angles: the row's, then the column's.
        self._grid = torch.cat(
            (
                row[:, None].expand(rows, columns, -1).reshape(self.tokens_per_frame, -1),
                column[None].expand(rows, columns, -1).reshape(self.tokens_per_frame, -1),
            ),
            dim=1,
        )

    def rotations(self, frames: Sequence[int], dtype: torch.dtype = torch.complex64) -> Tensor:
        """Rotations [len(frames) * tokens_per_frame, head_dim / 2] at these frame positions."""
        positions = torch.tensor(frames, dtype=torch.float64)
        angles = torch.outer(positions, self._frame_ladder)
        tokens = self.tokens_per_frame
        temporal = angles[:, None].expand(-1, tokens, -1)
        spatial = self._grid[None].expand(len(frames), -1, -1)
        full = torch.cat((temporal, spatial), dim=2).flatten(0, 1)
        return torch.polar(torch.ones_like(full), full).to(self.device, dtype)


def ladder(axis_dim: int) -> Tensor:
    """Angular frequencies [axis_dim / 2] of one axis, float64, radians per position."""
    exponent = torch.arange(0, axis_dim, 2, dtype=torch.float64) / axis_dim
    return THETA**-exponent


def rotate(x: Tensor, rotations: Tensor) -> Tensor:
    """`x` [..., N, D] turned by `rotations` [N, D / 2], in float32 or better; dtype of `x`."""
    wide = x if x.dtype in (torch.float32, torch.float64) else x.float()
    pairs = torch.view_as_complex(wide.unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * rotations).flatten(-2).to(x.dtype)
