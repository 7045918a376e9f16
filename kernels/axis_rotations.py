"""Rotary positions of a token grid as three small tables, one per axis, that stay in a GPU's L1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


def rotated_pairs(x: Tensor, rotations: Tensor) -> Tensor:
    """`x` [..., N, D] with adjacent pairs rotated by complex `rotations` [N, D / 2]."""
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * rotations).flatten(-2)


@dataclass(frozen=True, slots=True)
class AxisRotations:
    """cos and sin of every pair of head elements at every row, column and place in time.

    A frame has `rows` x `columns` tokens. The first `frame_pairs` pairs of a head rotate with the
    frame's place, the next `grid_pairs` with the row and the last `grid_pairs` with the column.
    `cos` and `sin` are flat float32: rows x grid_pairs, columns x grid_pairs, then
    places x frame_pairs. For Wan at 480x832 and 12 places 16 KB, where one entry per token and pair
    takes 9.6 MB.

    `by_token`: the tokens of a frame lie in another order. `rows` are then the tokens as they lie,
    `columns` is 1, and all `grid_pairs` pairs behind the frame's rotate by the entry of the token;
    that of the one column means nothing.
    """

    cos: Tensor
    sin: Tensor
    rows: int
    columns: int
    frame_pairs: int
    grid_pairs: int
    by_token: bool = False

    def __post_init__(self) -> None:
        if self.cos.shape != self.sin.shape or self.places < 1:
            raise ValueError(
                f"tables of {tuple(self.cos.shape)} and {tuple(self.sin.shape)} entries do not "
                f"hold {self.rows} rows, {self.columns} columns and at least one place"
            )

    @property
    def frame_tokens(self) -> int:
        """Tokens of a frame."""
        return self.rows * self.columns

    @property
    def head_dim(self) -> int:
        """Width of the heads that these rotate."""
        return 2 * (self.frame_pairs + (1 if self.by_token else 2) * self.grid_pairs)

    @property
    def places(self) -> int:
        """How many places in time the tables hold."""
        grid = (self.rows + self.columns) * self.grid_pairs
        return (self.cos.numel() - grid) // self.frame_pairs

    def expand(self, places: Sequence[int]) -> Tensor:
        """Rotations [len(places) * frame_tokens, head_dim / 2], complex128: the tables' meaning."""
        unit = torch.complex(self.cos.double(), self.sin.double())
        by_row, by_column, by_place = unit.split(
            (
                self.rows * self.grid_pairs,
                self.columns * self.grid_pairs,
                self.places * self.frame_pairs,
            )
        )
        shape = (len(places), self.rows, self.columns, -1)
        chosen = by_place.view(-1, self.frame_pairs)[list(places)]
        parts = (
            chosen[:, None, None].expand(*shape),
            by_row.view(self.rows, -1)[None, :, None].expand(*shape),
            by_column.view(self.columns, -1)[None, None].expand(*shape),
        )
        return torch.cat(parts[:2] if self.by_token else parts, dim=3).flatten(0, 2)
