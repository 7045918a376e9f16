"""Block-sparse attention that learns: the definition's values and gradients, and what is served."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rollcast.kernels.block_sparse.block_list import BlockList, blocks_of
from rollcast.kernels.block_sparse.block_sparse_masked import block_sparse_masked
from rollcast.kernels.block_sparse.global_branch import GlobalBranch
from rollcast.kernels.block_sparse.reference import block_sparse_ref
from rollcast.kernels.block_sparse.sparse_policy import SparsePolicy
from rollcast.kernels.dispatch import sparse_attention, use_backend

_SIZES = (3, 2)
_SMALL = SparsePolicy("top_k", query_block=4, key_block=2, max_density=0.3)


def _problem(dtype: torch.dtype) -> tuple[list[Tensor], BlockList]:
    """Short last blocks on both sides, heads that share keys; each row names a block."""
    torch.manual_seed(0)
    tensors = [
        torch.randn(2, heads, count, 8, dtype=dtype, requires_grad=True)
        for heads, count in ((4, 7), (2, 13), (2, 13))
    ]
    mask = torch.rand(2, 4, blocks_of(7, 3), blocks_of(13, 2)) < 0.4
    mask[..., 2] = True
    return tensors, BlockList.from_mask(mask, *_SIZES)


@pytest.mark.parametrize("with_rest", [False, True])
def test_values_and_gradients_are_those_of_the_definition(with_rest: bool) -> None:
    found = []
    for attend in (block_sparse_masked, block_sparse_ref):
        (query, key, value), blocks = _problem(torch.float64)
        rest = GlobalBranch.of(key, value, blocks) if with_rest else None
        made = attend(query, key, value, blocks, rest=rest)
        made = made[0] if isinstance(made, tuple) else made
        (made * torch.arange(8)).sum().backward()
        found.append([made, *(x.grad for x in (query, key, value))])
    for one, other in zip(*found, strict=True):
        # means and scores are float32 on the way
        torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-5)


def test_keys_that_no_row_names_learn_by_their_means_alone() -> None:
    for with_rest in (False, True):
        torch.manual_seed(1)
        query, key, value = (torch.randn(1, 1, 8, 4, requires_grad=True) for _ in range(3))
        mask = torch.tensor([True, False]).expand(1, 1, 2, 2)
        blocks = BlockList.from_mask(mask.contiguous(), 4, 4)
        rest = GlobalBranch.of(key, value, blocks) if with_rest else None
        block_sparse_masked(query, key, value, blocks, rest=rest).square().sum().backward()
        for part in (key.grad, value.grad):
            assert part is not None and part[:, :, :4].any()
            assert bool(part[:, :, 4:].any()) is with_rest


@pytest.mark.parametrize(
    "policy",
    [SparsePolicy("top_k", query_block=64, max_density=0.3), _SMALL],
    ids=["gathered", "small"],
)
def test_what_learns_is_what_is_served(policy: SparsePolicy) -> None:
    torch.manual_seed(2)
    size = 16 * policy.key_block
    query, key, value = (torch.randn(1, 2, n, 8) for n in (policy.query_block + 1, size, size))
    served = sparse_attention(query, key, value, policy)
    learns = sparse_attention(query.clone().requires_grad_(True), key, value, policy)
    torch.testing.assert_close(learns.detach(), served, atol=1e-6, rtol=1e-5)
    with use_backend("reference"):
        wanted = sparse_attention(query, key, value, policy)
    torch.testing.assert_close(served, wanted, atol=1e-6, rtol=1e-5)
    # the choice counts
    whole = SparsePolicy("top_k", policy.query_block, policy.key_block, max_density=1.0)
    assert not torch.allclose(sparse_attention(query, key, value, whole), served, atol=1e-3)


def test_small_blocks_are_for_torch_alone() -> None:
    assert not _SMALL.by_means and SparsePolicy().by_means
    with pytest.raises(ValueError, match="at most 16"):
        SparsePolicy(query_block=32, key_block=16)
