"""Keys or values of all heads in blocks, to gather some of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class BlockSource:
    """`heads` [B, Hkv, M, D] in blocks of `block`; of each head the last one may be short.

    `whole` [B * Hkv * n, block * D] are the n whole blocks of each head, one head behind another.
    """

    heads: Tensor
    block: int
    whole: Tensor

    @classmethod
    def of(cls, heads: Tensor, block: int) -> BlockSource:
        """A copy where `heads` do not lie one behind another."""
        short = heads.shape[2] % block
        whole = heads[:, :, :-short] if short else heads
        return cls(heads, block, whole.reshape(-1, block * heads.shape[3]))

    def gather(self, wanted: Tensor, ends: Tensor | None, room: Tensor | None = None) -> Tensor:
        """The whole blocks `wanted` [R, n] as [R, n * block, D].

        With `ends` [R] every row goes on with the short block of that one of the B * Hkv heads.
        What is gathered lies in `room` [R * n, block * D], if given, until that is used again.
        """
        rows, dim = len(wanted), self.heads.shape[3]
        found = torch.index_select(self.whole, 0, wanted.flatten(), out=room).view(rows, -1, dim)
        if ends is None:
            return found
        short = self.heads.shape[2] % self.block
        return torch.cat((found, self.heads[:, :, -short:].flatten(0, 1)[ends]), dim=1)
