"""How attention to a long window is thinned out: which blocks a policy chooses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SparseKind = Literal["adaptive", "top_k", "sliding_tiles"]
_OF_KERNELS = ((128, 64), (128, 128), (64, 64))
_SMALL = 16


@dataclass(frozen=True, slots=True)
class SparsePolicy:
    """`kind` "adaptive" keeps the blocks that have `energy` of a row's attention, as far as
    `min_density` and `max_density` of all blocks allow; "top_k" keeps `max_density` of them;
    "sliding_tiles" those within `reach` (frames, rows, columns) of the queries, and the sink.

    Blocks are `query_block` x `key_block` tokens: 128 x 64, 128 x 128 or 64 x 64, which kernels
    take, or `small` ones of at most 16 each, which torch alone takes. Scores come from block means,
    or from `samples` tokens of each block if that is not 0, drawn by `seed`.
    `global_branch` lets blocks that are left out count by their means.
    """

    kind: SparseKind = "adaptive"
    query_block: int = 128
    key_block: int = 64
    energy: float = 0.95
    min_density: float = 0.05
    max_density: float = 0.25
    samples: int = 0
    seed: int = 0
    reach: tuple[int, int, int] = (1, 8, 8)
    global_branch: bool = True

    @property
    def by_means(self) -> bool:
        """Whether blocks are scored by their means alone, which one kernel does."""
        return self.kind != "sliding_tiles" and not self.samples and not self.small

    @property
    def small(self) -> bool:
        """Whether blocks are too small for kernels, as those of toy students are."""
        return max(self.query_block, self.key_block) <= _SMALL

    def __post_init__(self) -> None:
        sizes = self.query_block, self.key_block
        if sizes not in _OF_KERNELS and not (min(sizes) >= 1 and self.small):
            raise ValueError(
                f"blocks of {self.query_block} x {self.key_block}; expected 128 x 64, 128 x 128 or "
                f"64 x 64, or at most {_SMALL} tokens each"
            )
        if not 0.0 < self.energy <= 1.0:
            raise ValueError(f"energy {self.energy}; expected more than 0 and at most 1")
        if not 0.0 <= self.min_density <= self.max_density <= 1.0 or not self.max_density:
            raise ValueError(
                f"min_density {self.min_density}, max_density {self.max_density}; expected "
                "0 <= min_density <= max_density <= 1, and max_density > 0"
            )
        if not 0 <= self.samples <= self.key_block:
            raise ValueError(f"samples {self.samples}; expected 0 to key_block {self.key_block}")
        if min(self.reach) < 0:
            raise ValueError(f"reach {self.reach}; expected no negative distance")
