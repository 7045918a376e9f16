"""Track maps: where points are on the latent grid, frame by frame.

After MotionStream (arXiv 2511.01266, section 3.1): cell (floor(y / s), floor(x / s)) of a visible
point holds the sinusoidal embedding of its id, all else is zero. The paper leaves collisions open;
they are summed here.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..student.blocks import sinusoid


def identity_track_map(
    points: Tensor, visible: Tensor, ids: Tensor, *, cell: int, rows: int, columns: int, dim: int
) -> Tensor:
    """Sinusoidal-identity map [T, dim, rows, columns], float32.

    `points` [T, N, 2] in pixels (x, y), `visible` [T, N] bool, `ids` [N] integers (drawn at random
    in training), `cell` the pixels per latent cell. Points outside the frame count as not visible.
    """
    embedding = sinusoid(ids, dim).float().expand(points.shape[0], -1, -1)
    return _scatter(embedding, points, visible, cell, rows, columns)


def _scatter(
    values: Tensor, points: Tensor, visible: Tensor, cell: int, rows: int, columns: int
) -> Tensor:
    """Sum `values` [T, N, C] into the cells of their points, [T, C, rows, columns]."""
    place = torch.floor(points / cell).long()
    column, row = place.unbind(-1)
    inside = visible & (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
    index = torch.where(inside, row * columns + column, 0)
    kept = values * inside.unsqueeze(-1)
    flat = values.new_zeros(values.shape[0], rows * columns, values.shape[2])
    flat.scatter_add_(1, index.unsqueeze(-1).expand_as(kept), kept)
    return flat.transpose(1, 2).unflatten(2, (rows, columns))
