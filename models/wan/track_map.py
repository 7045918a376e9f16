"""Track maps: where points are on the latent grid, frame by frame.

The cell of a visible point holds the sinusoidal embedding of its id, all else is zero; points that
meet in a cell are summed. Two cell rules are published. MotionStream (arXiv 2511.01266, section
3.1) takes the cell that a point is in. FastVideo's TrackWan takes the nearest cell on a grid whose
first and last cell are the picture's edges.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..student.blocks import float32_sinusoid, sinusoid


def identity_track_map(
    points: Tensor, visible: Tensor, ids: Tensor, *, cell: int, rows: int, columns: int, dim: int
) -> Tensor:
    """MotionStream's map [T, dim, rows, columns], float32.

    `points` [T, N, 2] in pixels (x, y), `visible` [T, N] bool, `ids` [N] integers (drawn at random
    in training), `cell` the pixels per latent cell. Points outside the frame count as not visible.
    """
    embedding = sinusoid(ids, dim).float().expand(points.shape[0], -1, -1)
    column, row = torch.floor(points / cell).long().unbind(-1)
    inside = visible & (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
    return _scatter(embedding, row, column, inside, rows, columns)


def nearest_cell_track_map(
    points: Tensor, visibility: Tensor, ids: Tensor, *, rows: int, columns: int, dim: int
) -> Tensor:
    """TrackWan's map [T, dim, rows, columns], float32.

    `points` [T, N, 2] in 0..1 of the picture (x, y), `visibility` [T, N] the share with which each
    counts, `ids` [N] integers. Points outside the picture stay visible at its edge; halves round to
    the even cell.
    """
    edges = torch.tensor([columns - 1, rows - 1], dtype=torch.float32, device=points.device)
    column, row = torch.round(points.float().clamp(0, 1) * edges).long().unbind(-1)
    embedding = float32_sinusoid(ids, dim).expand(points.shape[0], -1, -1)
    return _scatter(embedding, row, column, visibility.float(), rows, columns)


def first_maps(maps: Tensor, stride: int) -> Tensor:
    """`maps` [T, ...] of a stream's first chunk with empty ones in front: whole latent frames.

    Its first latent frame shows one picture, every other one `stride`.
    """
    missing = -maps.shape[0] % stride
    return F.pad(maps, (0, 0) * (maps.ndim - 1) + (missing, 0))


def _scatter(
    values: Tensor, row: Tensor, column: Tensor, share: Tensor, rows: int, columns: int
) -> Tensor:
    """`share` of `values` [T, N, C] summed into cells [T, N], [T, C, rows, columns].

    Where `share` is zero, row and column may be any.
    """
    index = torch.where(share != 0, row * columns + column, 0)
    kept = values * share.unsqueeze(-1)
    flat = values.new_zeros(values.shape[0], rows * columns, values.shape[2])
    flat.scatter_add_(1, index.unsqueeze(-1).expand_as(kept), kept)
    return flat.transpose(1, 2).unflatten(2, (rows, columns))
