"""Random rotations by the axes of a grid, for tests of kernels."""

from __future__ import annotations

import torch

from rollcast.kernels.axis_rotations import AxisRotations


def rotations(
    dim: int, rows: int, columns: int, places: int, device: torch.device
) -> AxisRotations:
    """For heads of `dim`, a grid of rows and columns, and so many places in time."""
    grid = dim // 6
    frame = dim // 2 - 2 * grid
    angles = 6.3 * torch.rand((rows + columns) * grid + places * frame, device=device)
    return AxisRotations(angles.cos(), angles.sin(), rows, columns, frame, grid)
