"""The offline pass against one masked attention with the positions written out, in float64."""

from __future__ import annotations

import pytest
import torch

from rollcast.kernels.block_sparse.sparse_policy import SparsePolicy
from rollcast.kernels.dense_attention.reference import attention_ref
from rollcast.models.student.block_causal import BlockCausal
from rollcast.models.student.config import CacheConfig
from rollcast.models.student.rope import RopeTable, rotate

ROPE = RopeTable(12, 1, 2)


@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize(
    ("sinks", "window", "chunk"), [(1, 3, 1), (2, 4, 2), (0, 2, 2), (1, 5, 2), (3, 2, 2)]
)
def test_equals_one_masked_attention(sinks: int, window: int, chunk: int, bounded: bool) -> None:
    torch.manual_seed(0)
    frames = 4 * chunk + window // chunk * chunk
    query, key, value = torch.randn(3, 1, 2, frames * 2, 12, dtype=torch.float64).unbind(0)
    config = CacheConfig(window_frames=window, sink_frames=sinks)
    family = "slot" if bounded else "absolute"
    plan = BlockCausal(ROPE, family, config, frames=frames, chunk_frames=chunk)
    made = plan.attend(query, key, value)
    for frame in range(frames):
        end = (frame // chunk + 1) * chunk
        seen = [f for f in range(end) if f < sinks or f >= end - window]
        behind = max(0, end - sinks - window) if bounded else 0
        at = [f + behind if f < sinks else f for f in seen]
        tokens = torch.tensor([2 * f + i for f in seen for i in range(2)])
        own = slice(2 * frame, 2 * frame + 2)
        wanted = attention_ref(
            rotate(query[:, :, own], ROPE.rotations([frame])),
            rotate(key[:, :, tokens], ROPE.rotations(at)),
            value[:, :, tokens],
        )
        # Rotations are rounded to float32.
        torch.testing.assert_close(made[:, :, own], wanted, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(
    ("config", "frames", "message"),
    [
        (CacheConfig(window_frames=3), 7, "whole chunks"),
        (CacheConfig(window_frames=1), 4, "fit the window"),
        (
            CacheConfig(window_frames=3, sink_frames=1, sink="ema", ragged="overwrite"),
            4,
            "every frame that leaves",
        ),
        (CacheConfig(window_frames=4, sparse=SparsePolicy("sliding_tiles")), 4, "by their means"),
        (CacheConfig(window_frames=4, sparse=SparsePolicy()), 4, "blocks within frames"),
        (CacheConfig(window_frames=2, rolling=False), 4, "global cache"),
        (
            CacheConfig(window_frames=4, sink_frames=1, bounded_sink=True, reach_frames=3),
            4,
            "no parallel form",
        ),
    ],
)
def test_plans_that_cannot_be(config: CacheConfig, frames: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BlockCausal(ROPE, "slot", config, frames=frames, chunk_frames=2)
