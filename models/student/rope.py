"""Three-axis rotary positions for any frame number (after Wan 2.1, Apache-2.0).

Rotations are unit complex numbers, one per adjacent pair of head elements. Angles are made in
float64 from integer positions and only then rounded, so frame 10**7 is as exact as frame 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from ...kernels.axis_rotations import AxisRotations
from ..upload import uploaded

THETA = 10_000.0


@dataclass(frozen=True, slots=True)
class Grid:
    """Positions of tokens at every frame, row and column of these, ordered so."""

    frames: tuple[int, ...]
    rows: tuple[int, ...]
    columns: tuple[int, ...]

    @property
    def tokens(self) -> int:
        """Tokens of the grid."""
        return len(self.frames) * len(self.rows) * len(self.columns)

    def shifted(self, frames: int) -> Grid:
        """The same `frames` frames later."""
        return Grid(tuple(frame + frames for frame in self.frames), self.rows, self.columns)


class RopeTable:
    """Rotations of a grid of `rows` x `columns` tokens per frame, for heads of `head_dim`.

    The spatial part is fixed; the temporal part is computed for the frames asked for. `half` rounds
    rotations to float16, as Live Avatar's published table is; only for parity.
    """

    def __init__(
        self,
        head_dim: int,
        rows: int,
        columns: int,
        *,
        device: torch.device | str = "cpu",
        half: bool = False,
    ) -> None:
        spatial = 2 * (head_dim // 6)
        self._ladders = (ladder(head_dim - 2 * spatial), ladder(spatial), ladder(spatial))
        self._half = half
        self.rows, self.columns = rows, columns
        self._raster = True
        # cos and sin of the grid's angles on the device, of tokens in another order.
        self._grid_turns: tuple[Tensor, Tensor] | None = None
        self.tokens_per_frame = rows * columns
        self.device = torch.device(device)
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

    def in_order(self, order: Tensor) -> RopeTable:
        """The same for tokens that lie in `order` [tokens_per_frame] within each frame."""
        table = copy(self)
        table._grid = self._grid[order]
        table._grid_turns = None
        table._raster = False
        return table

    def axes(self, places: Sequence[float]) -> AxisRotations:
        """The same rotations at these frame positions, as a table per axis for a kernel."""
        if not self._raster:
            return self._axes_by_token(places)
        axes = (range(self.rows), range(self.columns), places)
        ladders = (self._ladders[1], self._ladders[2], self._ladders[0])
        angles = torch.cat(
            [
                torch.outer(torch.tensor(axis, dtype=torch.float64), steps).flatten()
                for axis, steps in zip(axes, ladders, strict=True)
            ]
        )
        cos, sin = self._on_device(angles)
        return AxisRotations(
            cos,
            sin,
            rows=self.rows,
            columns=self.columns,
            frame_pairs=len(self._ladders[0]),
            grid_pairs=len(self._ladders[1]),
        )

    def _axes_by_token(self, places: Sequence[float]) -> AxisRotations:
        """The same for tokens in another order; what does not depend on `places` is kept."""
        if self._grid_turns is None:
            # a column that nothing turns by
            angles = torch.cat((self._grid.flatten(), self._grid.new_zeros(self._grid.shape[1])))
            self._grid_turns = self._on_device(angles)
        angles = torch.outer(torch.tensor(places, dtype=torch.float64), self._ladders[0])
        of_places = self._on_device(angles.flatten())
        cos, sin = (torch.cat(parts) for parts in zip(self._grid_turns, of_places, strict=True))
        return AxisRotations(
            cos, sin, rows=self.tokens_per_frame, columns=1,
            frame_pairs=len(self._ladders[0]), grid_pairs=self._grid.shape[1], by_token=True,
        )  # fmt: skip

    def _on_device(self, angles: Tensor) -> tuple[Tensor, Tensor]:
        """cos and sin of `angles`, float32."""
        cos, sin = angles.cos(), angles.sin()
        if self._half:
            cos, sin = cos.half(), sin.half()
        return (
            uploaded(cos, self.device, torch.float32),
            uploaded(sin, self.device, torch.float32),
        )

    def rotations(self, frames: Sequence[float], dtype: torch.dtype = torch.complex64) -> Tensor:
        """Rotations [len(frames) * tokens_per_frame, head_dim / 2] at these frame positions."""
        positions = torch.tensor(frames, dtype=torch.float64)
        angles = torch.outer(positions, self._ladders[0])
        tokens = self.tokens_per_frame
        temporal = angles[:, None].expand(-1, tokens, -1)
        spatial = self._grid[None].expand(len(frames), -1, -1)
        return self._turns(torch.cat((temporal, spatial), dim=2).flatten(0, 1), dtype)

    def grid_rotations(self, grid: Grid, dtype: torch.dtype = torch.complex64) -> Tensor:
        """Rotations [tokens, head_dim / 2] of tokens that stand elsewhere than a frame's."""
        axes = (grid.frames, grid.rows, grid.columns)
        shape = tuple(len(axis) for axis in axes)
        angles: list[Tensor] = []
        for index, (axis, steps) in enumerate(zip(axes, self._ladders, strict=True)):
            place = [-1 if index == other else 1 for other in range(3)]
            line = torch.outer(torch.tensor(axis, dtype=torch.float64), steps)
            angles.append(line.reshape(*place, len(steps)).expand(*shape, -1))
        return self._turns(torch.cat(angles, dim=3).flatten(0, 2), dtype)

    def _turns(self, angles: Tensor, dtype: torch.dtype) -> Tensor:
        rotations = torch.polar(torch.ones_like(angles), angles)
        if self._half:
            rotations = torch.view_as_complex(torch.view_as_real(rotations).half().double())
        return uploaded(rotations, self.device, dtype)


def ladder(axis_dim: int) -> Tensor:
    """Angular frequencies [axis_dim / 2] of one axis, float64, radians per position."""
    exponent = torch.arange(0, axis_dim, 2, dtype=torch.float64) / axis_dim
    return THETA**-exponent


def rotate(x: Tensor, rotations: Tensor) -> Tensor:
    """`x` [..., N, D] rotated by `rotations` [N, D / 2], in float32 or better; dtype of `x`."""
    wide = x if x.dtype in (torch.float32, torch.float64) else x.float()
    pairs = torch.view_as_complex(wide.unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * rotations).flatten(-2).to(x.dtype)
