"""Choices of key blocks: by energy (adaptive), a fixed number (top-k), or by place (sliding tiles).

All give a table of bools [B, H, query blocks, key blocks] for `BlockList.from_mask`, and none asks
the device for a number. Adaptive after Video-BLADE (arXiv 2508.10774), whose code drops the block
that crosses the threshold, so that less than the asked energy is kept; here that block is kept.
Sliding tiles after arXiv 2502.04507, for any grid and any order of tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def select_energy(
    scores: Tensor, energy: float, *, min_density: float, max_density: float
) -> Tensor:
    """Of each row of `scores` the highest, until they add up to `energy` of the row's sum.

    At least `fewest_blocks` and at most `most_blocks` of a row. Equal scores count in the order of
    their blocks. Raises ValueError for an energy or densities outside 0..1.
    """
    if not 0.0 <= energy <= 1.0 or not 0.0 <= min_density <= max_density <= 1.0:
        raise ValueError(
            f"energy {energy}, min_density {min_density}, max_density {max_density}; expected "
            "0..1 and min_density <= max_density"
        )
    ordered, block = scores.sort(dim=-1, descending=True, stable=True)
    before = ordered.cumsum(-1) - ordered
    rank = torch.arange(scores.shape[-1], device=scores.device)
    keep = before < energy * scores.sum(-1, keepdim=True)
    keep = keep | (rank < fewest_blocks(scores.shape[-1], min_density))
    keep = keep & (rank < most_blocks(scores.shape[-1], max_density))
    return torch.zeros_like(keep).scatter(-1, block, keep)


def select_top_k(scores: Tensor, count: int) -> Tensor:
    """The `count` highest of each row; the earlier of equal ones.

    Raises ValueError for a count outside 1..key blocks.
    """
    if not 1 <= count <= scores.shape[-1]:
        raise ValueError(f"{count} blocks of {scores.shape[-1]}; expected 1..{scores.shape[-1]}")
    block = scores.sort(dim=-1, descending=True, stable=True).indices[..., :count]
    return torch.zeros_like(scores, dtype=torch.bool).scatter(-1, block, True)


def select_sliding_tiles(query_boxes: Tensor, key_boxes: Tensor, reach: Sequence[int]) -> Tensor:
    """Pairs of blocks whose boxes are at most `reach` (frames, rows, columns) apart, [Q, K].

    Boxes are those of `block_boxes`. A reach of 0 keeps boxes that overlap.
    """
    below = query_boxes[:, None, 0] - key_boxes[None, :, 1]
    above = key_boxes[None, :, 0] - query_boxes[:, None, 1]
    gap = torch.maximum(below, above)
    return (gap <= torch.tensor(tuple(reach), device=gap.device)).all(-1)


def block_boxes(places: Tensor, block: int) -> Tensor:
    """Lowest and highest place of each block, [blocks, 2, 3].

    `places` [N, 3]: frame, row and column of the tokens in their order.
    """
    missing = -len(places) % block
    # A short block is filled up with its last token.
    full = torch.cat((places, places[-1:].expand(missing, -1))).unflatten(0, (-1, block))
    return torch.stack((full.amin(1), full.amax(1)), dim=1)


def fewest_blocks(key_blocks: int, min_density: float) -> int:
    """The lowest number of blocks that is at least `min_density` of `key_blocks`; one or more."""
    return max(1, -int(-(min_density * key_blocks) // 1))


def most_blocks(key_blocks: int, max_density: float) -> int:
    """The highest number of blocks that is at most `max_density` of `key_blocks`; one or more."""
    return max(1, int(max_density * key_blocks))
