"""What block-sparse attention keeps of the blocks that it leaves out: one mean for each."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .block_list import BlockList
from .block_scores import block_means, log_counts


@dataclass(frozen=True, slots=True)
class GlobalBranch:
    """Mean keys and values [B, Hkv, key blocks, D], and what each counts for.

    `bias` [B, H, query blocks, key blocks] (float32) is added to the scaled scores: the logarithm
    of how many keys a mean stands for, or -inf for blocks that a row attends to in full.
    """

    key: Tensor
    value: Tensor
    bias: Tensor

    @classmethod
    def of(cls, key: Tensor, value: Tensor, blocks: BlockList) -> GlobalBranch:
        """Means of `key` and `value` [B, Hkv, M, D] for what `blocks` does not list."""
        counts = log_counts(key.shape[2], blocks.key_block, key.device)
        return cls(
            block_means(key, blocks.key_block),
            block_means(value, blocks.key_block),
            torch.where(blocks.mask, float("-inf"), counts),
        )
