"""Attention of queries that are normed in the same kernel, against its float64 definition."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

pytest.importorskip("triton")

from rollcast.benchmarks.gpu.kernel_checks import poisoned_outputs
from rollcast.kernels import dispatch
from rollcast.kernels.normed_attention.normed_attention import heads_at_once, normed_attention
from rollcast.kernels.normed_attention.reference import normed_attention_ref


def drawn(
    device: torch.device, queries: int, keys: int, heads: int, dim: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Queries of a wider matrix, and keys as they are projected: heads beside each other."""
    width = heads * dim
    query = 3 * torch.randn(2, queries, 2 * width, device=device).to(dtype)[:, :, :width]
    weight = (1 + 0.3 * torch.randn(width, device=device)).to(dtype)
    key, value = torch.randn(2, 2, keys, heads, dim, device=device).to(dtype).transpose(2, 3)
    return query, weight, key, value


@pytest.mark.slow
@settings(deadline=None, max_examples=8)
@given(
    queries=st.integers(1, 70),
    keys=st.integers(1, 140),
    heads=st.integers(1, 4),
    dim=st.sampled_from((8, 12, 16, 32)),
    dtype=st.sampled_from((torch.float32, torch.float16)),
    seed=st.integers(0, 999),
)
def test_equals_the_definition(
    device: torch.device,
    queries: int,
    keys: int,
    heads: int,
    dim: int,
    dtype: torch.dtype,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    given_parts = drawn(device, queries, keys, heads, dim, dtype)
    with poisoned_outputs():
        made = normed_attention(*given_parts, 1e-6)
    # float16 rounds queries twice, weights of the softmax and the result, 5e-4 each
    limit = 5e-6 if dtype == torch.float32 else 4e-3
    assert made.dtype == dtype and made.is_contiguous()
    wanted = normed_attention_ref(*given_parts, 1e-6)
    torch.testing.assert_close(made.double(), wanted, atol=limit, rtol=limit)


def test_torch_and_the_kernel_agree_through_dispatch(device: torch.device) -> None:
    """To two sets of keys as well, as of a text and an image: they are added up."""
    torch.manual_seed(1)
    query, weight, key, value = drawn(device, 9, 40, 2, 16, torch.float32)
    others = torch.randn(2, 2, 2, 5, 16, device=device)
    wanted = normed_attention_ref(query, weight, key, value, 1e-5)
    both = wanted + normed_attention_ref(query, weight, others[0], others[1], 1e-5)
    for backend in ("sdpa", "triton", "reference"):
        with dispatch.use_backend(backend), torch.no_grad():
            one = dispatch.normed_attention(query, weight, 1e-5, (key, value))
            two = dispatch.normed_attention(
                query, weight, 1e-5, (key, value), (others[0], others[1])
            )
        torch.testing.assert_close(one.double(), wanted, atol=5e-6, rtol=5e-6)
        torch.testing.assert_close(two.double(), both, atol=5e-6, rtol=5e-6)


def test_keys_that_do_not_lie_as_projected_are_copied(device: torch.device) -> None:
    torch.manual_seed(2)
    query, weight, key, value = drawn(device, 5, 9, 2, 8, torch.float32)
    turned = value.transpose(2, 3).contiguous().transpose(2, 3)
    made = normed_attention(query, weight, key, turned, 1e-6)
    torch.testing.assert_close(made, normed_attention(query, weight, key, value, 1e-6))


def test_a_program_takes_as_many_heads_as_leave_nobody_idle() -> None:
    # 37 blocks of 128 on 132 places: 12 heads in 4 rounds, whether one at a time or four
    assert heads_at_once(12, 37, 132) == 4
    assert heads_at_once(12, 1, 132) == 1
    for heads in (12, 24, 40):
        for blocks in (1, 21, 37, 200):
            count = heads_at_once(heads, blocks, 132)
            rounds = count * -(-blocks * (heads // count) // 132)
            assert heads % count == 0 and rounds <= -(-blocks * heads // 132)


def test_shapes_are_checked() -> None:
    query, weight, key = torch.zeros(1, 3, 8), torch.zeros(8), torch.zeros(1, 2, 5, 4)
    with pytest.raises(ValueError, match="expected"):
        normed_attention(query, weight, key, key[:, :, :4], 1e-6)
    with pytest.raises(ValueError, match="expected"):
        normed_attention(query, weight[:7], key, key, 1e-6)
    with pytest.raises(ValueError, match="some"):
        normed_attention(query, weight, key[:, :, :0], key[:, :, :0], 1e-6)
    with pytest.raises(ValueError, match="one dtype"):
        normed_attention(query.half(), weight, key, key, 1e-6)
