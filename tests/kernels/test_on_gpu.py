"""The kernels in bfloat16 on a GPU, at Wan's sizes, against their float64 definitions.

Relative errors of 8e-3: weights, turned keys and outputs are rounded to 8 bits, 4e-3 each at most.
Nothing has a time limit; `rollcast bench attention` measures.
"""

from __future__ import annotations

import os

import pytest
import torch

pytest.importorskip("triton")

from rollcast.kernels.block_sparse.block_sparse import block_sparse
from rollcast.kernels.block_sparse.choose_blocks import choose_blocks
from rollcast.kernels.block_sparse.global_branch import GlobalBranch
from rollcast.kernels.block_sparse.reference import block_sparse_ref
from rollcast.kernels.block_sparse.sparse_policy import SparsePolicy
from rollcast.kernels.norm_rope_write.norm_rope_write import norm_rope_write
from rollcast.kernels.norm_rope_write.reference import norm_rope_write_ref
from rollcast.kernels.ring_attention.reference import ring_attention_ref
from rollcast.kernels.ring_attention.ring_attention import ring_attention
from rollcast.kernels.ring_plan import FrameWrite, Span
from rollcast.models.student.rope import RopeTable

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not torch.cuda.is_available() or os.environ.get("TRITON_INTERPRET") == "1",
        reason="no CUDA device is here"
        if not torch.cuda.is_available()
        else "a CUDA device is here, but TRITON_INTERPRET=0 is not set",
    ),
]
FRAME, HEADS, DIM = 1560, 2, 128
LIMIT = 8e-3


def inputs(queries: int, slots: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    made = (
        torch.randn(1, HEADS, count, DIM, device="cuda", dtype=torch.bfloat16)
        for count in (queries, slots, slots)
    )
    query, key, value = made
    return query, key, value


def close(made: torch.Tensor, wanted: torch.Tensor) -> None:
    assert float((made.double() - wanted).norm() / wanted.norm()) < LIMIT


@pytest.mark.parametrize("rotate", [False, True], ids=["turned", "raw"])
def test_ring_attention(rotate: bool) -> None:
    """A sink of 3 frames and a window of 9, wrapped; two dead frames of NaN behind them."""
    query, key, value = inputs(3 * FRAME, 14 * FRAME)
    key[:, :, 12 * FRAME :] = value[:, :, 12 * FRAME :] = float("nan")
    spans = (
        Span(0, 3 * FRAME, 0), Span(3 * FRAME, 4 * FRAME, 8), Span(7 * FRAME, 5 * FRAME, 3),
    )  # fmt: skip
    turns = RopeTable(DIM, 30, 52, device="cuda").axes(range(12)) if rotate else None
    out, lse = ring_attention(query, key, value, spans, rotation=turns)
    wanted, wanted_lse = ring_attention_ref(query, key, value, spans, rotation=turns)
    close(out, wanted)
    close(lse, wanted_lse)


@pytest.mark.parametrize("blocks", [(128, 64), (128, 128), (64, 64)])
def test_block_sparse(blocks: tuple[int, int]) -> None:
    query, key, value = inputs(3 * FRAME, 12 * FRAME)
    policy = SparsePolicy(query_block=blocks[0], key_block=blocks[1], samples=16)
    chosen = choose_blocks(query, key, policy)
    for rest in (None, GlobalBranch.of(key, value, chosen)):
        out, lse = block_sparse(query, key, value, chosen, rest=rest)
        wanted, wanted_lse = block_sparse_ref(query, key, value, chosen, rest=rest)
        close(out, wanted)
        close(lse, wanted_lse)


def test_norm_rope_write() -> None:
    torch.manual_seed(1)
    wide = HEADS * DIM
    projected = torch.randn(3, 1, 3 * FRAME, wide, device="cuda", dtype=torch.bfloat16)
    weights = 1 + 0.3 * torch.randn(2, wide, device="cuda", dtype=torch.bfloat16)
    turns = RopeTable(DIM, 30, 52, device="cuda").axes(range(12))
    writes = (FrameWrite(0, 11, 1), FrameWrite(1, 3, 2))
    results = []
    for operation in (norm_rope_write, norm_rope_write_ref):
        caches = torch.zeros(2, 1, HEADS, 12 * FRAME, DIM, device="cuda", dtype=torch.bfloat16)
        out = operation(
            *projected, *weights, *caches,
            rotation=turns, place=9, writes=writes, rotate_key=False, eps=1e-6,
        )  # fmt: skip
        results.append((out, caches))
    close(results[0][0], results[1][0].double())
    close(results[0][1], results[1][1].double())
