"""What a chunk with a thin window asks of a GPU, beside the same chunk with attention to all of it.

`python -m rollcast.benchmarks.kernels.sparse_chunk` counts both on `meta` (`chunk_operations`), and
works out what attention computes and reads. Keys and values are read once by every block of 128
queries, out of the L2 cache. None of this is a time.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...kernels.block_sparse.block_list import blocks_of
from ...kernels.block_sparse.block_select import most_blocks
from ...kernels.block_sparse.sparse_policy import SparsePolicy
from ...models.wan.presets.catalogue import preset_named
from ...models.wan.presets.preset import Preset
from .chunk_operations import HOPPER, chunk_row

_QUERIES = 128
"""Of a block that reads keys and values once."""
_BYTES = 2
"""Of a number in bfloat16."""


@dataclass(frozen=True, slots=True)
class Work:
    """What attention to the window does in a chunk, all layers and calls together.

    `flop` of products; `read` bytes of keys and values that blocks of queries read; `choosing`
    bytes of what pools, scores and chooses.
    """

    flop: float
    read: float
    choosing: float = 0.0


def attention_work(preset: Preset, policy: SparsePolicy | None) -> Work:
    """Of a chunk with a full window; with a policy that chooses as many blocks as it may."""
    student, recipe = preset.student, preset.recipe
    tokens = student.tokens_per_frame(*preset.latent_size(preset.size))
    queries = recipe.chunk_frames * tokens
    keys = preset.cache.capacity_frames * tokens
    calls = student.num_layers * len(recipe.chunk_steps().calls)
    row = student.num_heads * student.head_dim
    rows = blocks_of(queries, _QUERIES)
    if policy is None:
        return Work(4.0 * queries * keys * row * calls, 2.0 * _BYTES * rows * keys * row * calls)
    blocks = blocks_of(keys, policy.key_block)
    seen = most_blocks(blocks, policy.max_density) * policy.key_block
    seen += blocks if policy.global_branch else 0
    # keys and values that the call stored, the queries, the means for every row, the table
    own = (1 + policy.global_branch) * queries * row + queries * row + rows * blocks * row
    table = rows * student.num_heads * blocks * (1 + 4 * policy.global_branch)
    return Work(
        4.0 * queries * seen * row * calls + 2.0 * rows * blocks * row * calls,
        2.0 * _BYTES * rows * seen * row * calls,
        (_BYTES * own + table) * calls,
    )


def sparse_row(preset: Preset, policy: SparsePolicy | None) -> dict[str, Any]:
    """The counts of a chunk of `preset` with that policy; None: with attention to everything."""
    thin = replace(preset, cache=replace(preset.cache, sparse=policy))
    counted, work = chunk_row(thin, HOPPER), attention_work(preset, policy)
    kept = ("operations", "launches", "operators", "pass_bytes", "blocking_uploads")
    return {name: counted[name] for name in kept} | {
        "attention_flop": work.flop,
        "attention_bytes": work.read,
        "choosing_bytes": work.choosing,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """A line for each way of attending."""
    parser = argparse.ArgumentParser(prog="sparse_chunk", description="See the docstring.")
    parser.add_argument("--preset", default="reward-forcing")
    parser.add_argument("--density", type=float, default=0.25, help="share of blocks that is seen")
    parser.add_argument("--out", type=Path, help="write the counts as JSON")
    plan = parser.parse_args(arguments)
    preset = preset_named(plan.preset)
    thin = SparsePolicy("top_k", max_density=plan.density, global_branch=False)
    ways = {"dense": None, "sparse": thin, "sparse, means": replace(thin, global_branch=True)}
    rows = {name: sparse_row(preset, policy) for name, policy in ways.items()}
    for name, row in rows.items():
        sys.stdout.write(
            f"{name:14} {row['operations']:5} operations; attention "
            f"{row['attention_flop'] / 1e12:.1f} TFLOP, {row['attention_bytes'] / 1e9:.0f} GB of "
            f"keys and values; choosing {row['choosing_bytes'] / 1e9:.1f} GB; other passes "
            f"{row['pass_bytes'] / 1e9:.1f} GB\n"
        )
    if plan.out:
        plan.out.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
