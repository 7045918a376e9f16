"""Attention with scores of 8-bit integers against its float64 definition; dead slots are NaN.

Relative errors (root mean square of the difference over that of the definition): float32 is bounded
by 5e-6, because an integer may differ where a quotient is within a rounding of a half; float16 by
1e-3, because weights and outputs are rounded to 11 bits.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor

pytest.importorskip("triton")

from rollcast.kernels.dense_attention.reference import attention_ref
from rollcast.kernels.dispatch import int8_attention as dispatched
from rollcast.kernels.dispatch import use_backend
from rollcast.kernels.int8_attention.int8_attention import int8_attention, quantise_keys
from rollcast.kernels.int8_attention.reference import int8_attention_ref, quantise_keys_ref
from rollcast.kernels.tile.tile_sizes import Tile

from ...variants import examples

LIMITS = {torch.float32: 5e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}


def relative(made: Tensor, wanted: Tensor) -> float:
    return float((made.double() - wanted.double()).norm() / wanted.double().norm())


def inputs(
    device: torch.device,
    *,
    queries: int,
    keys: int,
    heads: tuple[int, int] = (2, 2),
    dim: int = 32,
    dtype: torch.dtype = torch.float32,
    batch: int = 1,
) -> tuple[Tensor, Tensor, Tensor]:
    """Keys far from zero, as those of students are, in a cache with NaN behind them."""
    query = torch.randn(batch, queries, heads[0], dim, device=device)
    cache = torch.randn(2, batch, heads[1], keys + 70, dim, device=device)
    cache[0] += 5 * torch.randn(1, heads[1], 1, dim, device=device)
    cache[:, :, :, keys:] = float("nan")
    key, value = cache.to(dtype)[:, :, :, :keys]
    return query.to(dtype).transpose(1, 2), key, value


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("dim", [64, 96, 128])
@pytest.mark.parametrize("descriptors", [False, True], ids=["pointers", "tma"])
def test_head_sizes(device: torch.device, dim: int, dtype: torch.dtype, descriptors: bool) -> None:
    torch.manual_seed(dim)
    made_of = inputs(device, queries=41, keys=150, heads=(4, 2), dim=dim, dtype=dtype)
    made = int8_attention(*made_of, tile=Tile(32, 64, descriptors=descriptors))
    assert made.dtype == dtype and made.shape == made_of[0].shape
    assert relative(made, int8_attention_ref(*made_of)) < LIMITS[dtype]


@pytest.mark.slow
@examples(
    7,
    20,
    sizes=st.tuples(st.integers(1, 90), st.integers(1, 200)),
    heads=st.sampled_from(((1, 1), (2, 2), (4, 2), (3, 1))),
    dim=st.sampled_from((6, 16, 26, 64)),
    batch=st.integers(1, 2),
    scale=st.sampled_from((None, 0.02, 1.3)),
    seed=st.integers(0, 999),
)
def test_any_shape(
    device: torch.device,
    sizes: tuple[int, int],
    heads: tuple[int, int],
    dim: int,
    batch: int,
    scale: float | None,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    made_of = inputs(device, queries=sizes[0], keys=sizes[1], heads=heads, dim=dim, batch=batch)
    made = int8_attention(*made_of, scale=scale)
    assert relative(made, int8_attention_ref(*made_of, scale=scale)) < LIMITS[torch.float32]


def test_keys_are_quantised_as_defined(device: torch.device) -> None:
    torch.manual_seed(1)
    _, key, _ = inputs(device, queries=1, keys=200)
    made, wanted = quantise_keys(key), quantise_keys_ref(key)
    torch.testing.assert_close(made[1], wanted[1], atol=0.0, rtol=1e-6)
    # a mean whose last bit differs moves what lies at a half
    apart = (made[0].int() - wanted[0].int()).abs()
    assert int(apart.max()) <= 1 and float((apart > 0).float().mean()) < 1e-3


def test_a_mean_taken_away_is_what_keeps_it_near(device: torch.device) -> None:
    """Of keys far from zero a hundredth is lost; with their mean in them over twice that."""
    torch.manual_seed(2)
    query, key, value = inputs(device, queries=60, keys=190, dim=64)
    exact = attention_ref(query, key, value)
    smooth = relative(int8_attention(query, key, value), exact)
    assert smooth < 0.015
    scales = key.abs().amax((2, 3), keepdim=True) / 127
    coarse = (key / scales).round() * scales
    assert relative(attention_ref(query, coarse, value), exact) > 2 * smooth


@pytest.mark.parametrize("backend", ["triton", "sdpa", "reference"])
def test_backends_make_the_same(device: torch.device, backend: str) -> None:
    torch.manual_seed(3)
    made_of = inputs(device, queries=30, keys=100, heads=(4, 2))
    with use_backend(backend):  # type: ignore[arg-type]
        made = dispatched(*made_of)
    assert relative(made, int8_attention_ref(*made_of)) < LIMITS[torch.float32]


def test_misfits_are_told(device: torch.device) -> None:
    query, key, value = inputs(device, queries=3, keys=8, heads=(3, 3))
    with pytest.raises(ValueError, match="multiple of Hkv"):
        int8_attention(query, key[:, :2], value[:, :2])
    with pytest.raises(ValueError, match="one dtype"):
        int8_attention(query.half(), key, value)
    with pytest.raises(ValueError, match="share a scale"):
        int8_attention(query, key, value, tile=Tile(16, 32))
