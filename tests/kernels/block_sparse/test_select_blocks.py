"""Pooling and choosing blocks in kernels against the definition in float64, and against torch.

Scores are float32: a row may differ from the definition only where what decides, a block's score
or the sum before it, is within 1e-5 of the threshold.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

pytest.importorskip("triton")

from rollcast.kernels.block_sparse.block_pool import BlockMeans, pool_blocks
from rollcast.kernels.block_sparse.block_scores import block_means
from rollcast.kernels.block_sparse.block_select import most_blocks
from rollcast.kernels.block_sparse.choose_blocks import choose_blocks
from rollcast.kernels.block_sparse.global_branch import GlobalBranch
from rollcast.kernels.block_sparse.reference import choose_blocks_ref
from rollcast.kernels.block_sparse.select_blocks import select_blocks
from rollcast.kernels.block_sparse.sparse_policy import SparsePolicy
from rollcast.kernels.dispatch import pooled, sparse_attention, use_backend
from rollcast.kernels.ring_plan import Span

from ...variants import some_of

MEANS = {torch.float32: 1e-6, torch.float16: 2e-3, torch.bfloat16: 2e-2}
CLOSE = 1e-5


def undecided(scores: Tensor, policy: SparsePolicy) -> bool:
    """Whether a row's choice hangs on less than what float32 resolves."""
    ordered = scores.sort(descending=True).values
    most = most_blocks(len(scores), policy.max_density)
    edges = (ordered[:-1] - ordered[1:]).abs()
    if policy.kind == "top_k":
        return most < len(scores) and float(edges[most - 1]) < CLOSE * float(ordered[most - 1])
    before = ordered.cumsum(0) - ordered
    tied = bool((edges < CLOSE * ordered[:-1]).any())
    return tied or bool(((before - policy.energy).abs() < CLOSE).any())


def inputs(
    device: torch.device,
    *,
    queries: int,
    keys: int,
    heads: tuple[int, int] = (2, 2),
    dim: int = 16,
    dtype: torch.dtype = torch.float32,
    batch: int = 1,
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries as projected, keys and values of a cache with NaN behind those that live."""
    query = 3 * torch.randn(batch, queries, heads[0], dim, device=device)
    cache = torch.randn(2, batch, heads[1], keys + 70, dim, device=device)
    cache[:, :, :, keys:] = float("nan")
    key, value = cache.to(dtype)[:, :, :, :keys]
    return query.to(dtype).transpose(1, 2), key, value


def check(query: Tensor, key: Tensor, value: Tensor, policy: SparsePolicy, room: int) -> None:
    space = key.new_empty(*key.shape[:2], room, key.shape[3])
    means = BlockMeans.empty(space, policy.key_block, values=policy.global_branch)
    means.key.fill_(float("nan"))
    if means.value is not None:
        means.value.fill_(float("nan"))
    pool_blocks(key, value, means, (Span(0, key.shape[2]),))
    blocks, rest = select_blocks(query, means, key.shape[2], policy)
    wanted, scores = choose_blocks_ref(query, key, policy)
    of_torch = choose_blocks(query, key, policy)
    for index, row in enumerate(blocks.mask.flatten(0, 2)):
        first, end = int(blocks.starts[index]), int(blocks.ends[index])
        assert blocks.blocks[first:end].tolist() == row.nonzero()[:, 0].tolist()
        if undecided(scores.flatten(0, 2)[index], policy):
            continue
        assert torch.equal(row, wanted.flatten(0, 2)[index])
        assert torch.equal(row, of_torch.mask.flatten(0, 2)[index])
    if not policy.global_branch:
        assert rest is None
        return
    assert rest is not None
    branch = GlobalBranch.of(key, value, blocks)
    for made, expected in zip((rest.key, rest.value), (branch.key, branch.value), strict=True):
        torch.testing.assert_close(made, expected, atol=MEANS[key.dtype], rtol=1e-3)
    torch.testing.assert_close(rest.bias, branch.bias, atol=1e-6, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("kind", some_of(["adaptive", "top_k"], "adaptive"))
@pytest.mark.parametrize("dim", some_of([64, 96, 128], 96))
def test_head_sizes(device: torch.device, dim: int, kind: str) -> None:
    """Grouped heads, short last blocks of both, more room than there are keys."""
    torch.manual_seed(dim)
    policy = SparsePolicy(kind, 64, 64, max_density=0.6)  # type: ignore[arg-type]
    check(*inputs(device, queries=150, keys=1000, heads=(4, 2), dim=dim), policy, 1700)


@pytest.mark.long
@pytest.mark.slow
@settings(deadline=None, max_examples=20)
@given(
    sizes=st.tuples(st.integers(1, 300), st.integers(1, 900)),
    heads=st.sampled_from(((1, 1), (2, 2), (4, 2), (3, 1))),
    dim=st.sampled_from((6, 16, 26)),
    batch=st.integers(1, 2),
    policy=st.builds(
        SparsePolicy,
        kind=st.sampled_from(("adaptive", "top_k")),
        key_block=st.sampled_from((64, 128)),
        energy=st.sampled_from((0.3, 0.95, 1.0)),
        min_density=st.sampled_from((0.0, 0.1)),
        max_density=st.sampled_from((0.1, 0.4, 1.0)),
        global_branch=st.booleans(),
    ),
    more=st.sampled_from((0, 400)),
    seed=st.integers(0, 999),
)
def test_any_policy(
    device: torch.device,
    sizes: tuple[int, int],
    heads: tuple[int, int],
    dim: int,
    batch: int,
    policy: SparsePolicy,
    more: int,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    made = inputs(device, queries=sizes[0], keys=sizes[1], heads=heads, dim=dim, batch=batch)
    check(*made, policy, sizes[1] + more)


@pytest.mark.parametrize("kind", ["adaptive", "top_k"])
def test_equal_blocks_count_in_their_order(device: torch.device, kind: str) -> None:
    """All blocks alike, but for one that is better: it and the first of the others."""
    torch.manual_seed(3)
    block = torch.randn(64, 16, device=device)
    key = block.repeat(10, 1)[None, None]
    query = block[:1].expand(64, -1)[None, None]
    key[0, 0, 7 * 64 : 8 * 64] += query[0, 0]
    policy = SparsePolicy(kind, 64, 64, energy=1.0, max_density=0.4)  # type: ignore[arg-type]
    means = pooled(key, key, policy)
    blocks, _ = select_blocks(query, means, 640, policy)
    assert blocks.blocks[: int(blocks.ends[0])].tolist() == [0, 1, 2, 7]


def test_blocks_are_pooled_where_a_ring_was_written(device: torch.device) -> None:
    """A ring that wrapped wrote two ranges, which touch three blocks; the others stay as kept."""
    torch.manual_seed(4)
    _, key, value = inputs(device, queries=1, keys=500)
    means = BlockMeans.empty(key, 64, values=True)
    assert means.value is not None
    means.key.fill_(7.0)
    pool_blocks(key, value, means, (Span(450, 50), Span(60, 10)))
    expected = block_means(key, 64)
    pooled_ones = [0, 1, 7]
    torch.testing.assert_close(means.key[:, :, pooled_ones], expected[:, :, pooled_ones])
    others = [block for block in range(8) if block not in pooled_ones]
    assert bool((means.key[:, :, others] == 7.0).all())


@pytest.mark.slow
@pytest.mark.parametrize("global_branch", [False, True])
def test_attention_is_that_of_torch(device: torch.device, global_branch: bool) -> None:
    torch.manual_seed(5)
    made = inputs(device, queries=140, keys=900, heads=(2, 1))
    policy = SparsePolicy("top_k", 64, 64, max_density=0.3, global_branch=global_branch)
    with use_backend("triton"):
        found = sparse_attention(*made, policy)
    with use_backend("reference"):
        wanted = sparse_attention(*made, policy)
    torch.testing.assert_close(found, wanted, atol=5e-6, rtol=1e-5)


def test_misfits_are_told(device: torch.device) -> None:
    query, key, value = inputs(device, queries=10, keys=100)
    policy = SparsePolicy("top_k", 64, 64)
    means = pooled(key, value, policy)
    with pytest.raises(ValueError, match="does not score by means"):
        select_blocks(query, means, 100, replace(policy, samples=8))
    with pytest.raises(ValueError, match="do not fit"):
        select_blocks(query, means, 200, policy)
    with pytest.raises(ValueError, match="not for it"):
        select_blocks(query, means, 100, SparsePolicy("top_k", 128, 128))
    with pytest.raises(ValueError, match="have no room"):
        pool_blocks(key[:, :1], value[:, :1], means, (Span(0, 1),))
    with pytest.raises(ValueError, match="of 100 keys"):
        pool_blocks(key, value, means, (Span(90, 20),))
    with pytest.raises(ValueError, match="0 spans"):
        pool_blocks(key, value, means, ())
