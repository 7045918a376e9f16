"""Which blocks of keys every block of queries attends to, as rows of a list."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class BlockList:
    """Row (b, h, i) is the i-th block of `query_block` queries of head h.

    Its blocks of `key_block` keys are `blocks[starts[row] : ends[row]]`, ascending, all int32; rows
    are numbered (b * H + h) * query blocks + i. What else lies in `blocks` means nothing. `mask`
    [B, H, query blocks, key blocks] says the same as a table of bools.
    """

    starts: Tensor
    ends: Tensor
    blocks: Tensor
    mask: Tensor
    query_block: int
    key_block: int

    @classmethod
    def from_mask(
        cls, mask: Tensor, query_block: int, key_block: int, *, most: int | None = None
    ) -> BlockList:
        """The list of `mask` [B, H, query blocks, key blocks], bool.

        `most` is the highest number of blocks that a row can have, if that is known: memory is set
        aside for it, so that nothing has to be asked of the device.
        """
        rows = mask.flatten(0, 2)
        key_blocks = rows.shape[1]
        counts = rows.sum(1, dtype=torch.int32)
        offsets = torch.zeros(len(rows) + 1, dtype=torch.int32, device=mask.device)
        torch.cumsum(counts, 0, dtype=torch.int32, out=offsets[1:])
        room = len(rows) * min(key_blocks, key_blocks if most is None else most)
        # What is not chosen goes to one place behind the list.
        place = offsets[:-1, None] + torch.cumsum(rows, 1, dtype=torch.int32) - 1
        place = torch.where(rows, place, room).long()
        named = torch.arange(key_blocks, dtype=torch.int32, device=mask.device).expand_as(rows)
        blocks = torch.zeros(room + 1, dtype=torch.int32, device=mask.device)
        blocks.scatter_(0, place.flatten(), named.flatten())
        return cls(offsets[:-1], offsets[1:], blocks[:room], mask, query_block, key_block)

    @property
    def density(self) -> Tensor:
        """Share of all pairs of blocks that is chosen, a scalar on the list's device."""
        return self.mask.float().mean()

    def check(self, query: Tensor, key: Tensor) -> None:
        """Raises ValueError if the list is not one for `query` and `key` [B, H, N, D]."""
        expected = (
            *query.shape[:2],
            blocks_of(query.shape[2], self.query_block),
            blocks_of(key.shape[2], self.key_block),
        )
        if tuple(self.mask.shape) != expected:
            raise ValueError(
                f"a list for {tuple(self.mask.shape)} blocks; query {tuple(query.shape)} and key "
                f"{tuple(key.shape)} in blocks of {self.query_block} x {self.key_block} have "
                f"{expected}"
            )


def blocks_of(tokens: int, block: int) -> int:
    """How many blocks of `block` it takes; the last one may be short."""
    return -(-tokens // block)
