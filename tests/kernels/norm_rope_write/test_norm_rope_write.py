"""Norm, rotation and cache write in one kernel against their float64 definition.

float32 within 3e-6 of values around 1 (a sum over the width, a rotation); float16 within 4e-3: it
rounds the norm, the product and the rotation, 5e-4 relative each, of values up to 4.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import strategies as st

pytest.importorskip("triton")

from rollcast.kernels.key_rotation.key_rotation import rotate_keys
from rollcast.kernels.norm_rope_write.norm_rope_write import norm_rope_write
from rollcast.kernels.norm_rope_write.reference import norm_rope_write_ref
from rollcast.kernels.ring_plan import FrameWrite, Span

from ...variants import examples
from ..rotations import rotations


@pytest.mark.slow
@examples(
    7,
    20,
    heads=st.integers(1, 3),
    dim=st.sampled_from((6, 16, 26)),
    rows=st.integers(1, 2),
    columns=st.integers(1, 3),
    frames=st.integers(1, 3),
    place=st.integers(0, 2),
    unwritten=st.booleans(),
    rotate_key=st.booleans(),
    dtype=st.sampled_from((torch.float32, torch.float16)),
    seed=st.integers(0, 999),
)
def test_equals_the_definition(
    device: torch.device,
    heads: int,
    dim: int,
    rows: int,
    columns: int,
    frames: int,
    place: int,
    unwritten: bool,
    rotate_key: bool,
    dtype: torch.dtype,
    seed: int,
) -> None:
    """Written frames wrap around the ring; slots that are not written stay NaN."""
    torch.manual_seed(seed)
    width, tokens = heads * dim, rows * columns
    projected = torch.randn(3, 2, frames * tokens, width, device=device).to(dtype)
    weights = 1 + 0.3 * torch.randn(2, width, device=device).to(dtype)
    axes = rotations(dim, rows, columns, place + frames, device)
    first = 1 if unwritten and frames > 1 else 0
    writes = (FrameWrite(first, 4, 1), FrameWrite(first + 1, 1, frames - first - 1))
    results = []
    for operation in (norm_rope_write, norm_rope_write_ref):
        shape = (2, 2, heads, 5 * tokens, dim)
        cache = torch.full(shape, float("nan"), device=device, dtype=dtype)
        out = operation(
            *projected, *weights, *cache,
            rotation=axes, place=place, writes=writes, rotate_key=rotate_key, eps=1e-6,
        )  # fmt: skip
        results.append((out.double(), cache))
    limit = 3e-6 if dtype == torch.float32 else 4e-3
    (out, cache), (wanted, wanted_cache) = results
    torch.testing.assert_close(out, wanted, atol=limit, rtol=limit)
    torch.testing.assert_close(cache, wanted_cache, atol=limit, rtol=limit, equal_nan=True)


def test_misfits_are_told(device: torch.device) -> None:
    axes = rotations(6, 1, 2, 2, device)
    x, weight, cache = torch.zeros(1, 4, 12), torch.zeros(12), torch.zeros(1, 2, 8, 6)

    def call(x: torch.Tensor, place: int) -> None:
        norm_rope_write(
            x, x, x, weight, weight, cache, cache,
            rotation=axes, place=place, writes=(), rotate_key=True, eps=1e-6,
        )  # fmt: skip

    with pytest.raises(ValueError, match="do not fit"):
        call(x[:, :3], 0)
    with pytest.raises(ValueError, match="hold 2 places"):
        call(x, 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_raw_keys_are_stored_turned_as_well(device: torch.device, dtype: torch.dtype) -> None:
    """Bit for bit as `rotate_keys` would turn what was stored."""
    torch.manual_seed(5)
    heads, dim, tokens = 3, 26, 6
    query, new_key, new_value = torch.randn(3, 1, 2 * tokens, heads * dim, device=device).to(dtype)
    of_query, of_key = 1 + 0.3 * torch.randn(2, heads * dim, device=device).to(dtype)
    axes = rotations(dim, 2, 3, 5, device)
    key, value, turned = torch.full(
        (3, 1, heads, 4 * tokens, dim), float("nan"), device=device, dtype=dtype
    )
    norm_rope_write(
        query, new_key, new_value, of_query, of_key, key, value, turned_key=turned,
        rotation=axes, place=2, writes=(FrameWrite(0, 1, 2),), rotate_key=False, eps=1e-6,
    )  # fmt: skip
    stored = slice(tokens, 3 * tokens)
    wanted = rotate_keys(key[:, :, stored], (Span(0, 2 * tokens, 2),), axes)
    torch.testing.assert_close(turned[:, :, stored], wanted, atol=0.0, rtol=0.0)
    assert turned[:, :, :tokens].isnan().all() and turned[:, :, 3 * tokens :].isnan().all()
    with pytest.raises(ValueError, match="turned_key"):
        norm_rope_write(
            query, new_key, new_value, of_query, of_key, key, value, turned_key=turned,
            rotation=axes, place=2, writes=(), rotate_key=True, eps=1e-6,
        )  # fmt: skip
