"""The norm over channels and SiLU against their float64 definition; what is beside is untouched."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("triton")

from rollcast.kernels import dispatch
from rollcast.kernels.norm_silu.norm_silu import norm_silu
from rollcast.kernels.norm_silu.reference import norm_silu_ref


@settings(deadline=None, max_examples=20)
@given(
    channels=st.integers(1, 70),
    frames=st.integers(1, 3),
    rows=st.integers(1, 5),
    columns=st.integers(1, 40),
    last=st.booleans(),
    dtype=st.sampled_from((torch.float32, torch.float16)),
    seed=st.integers(0, 999),
)
def test_equals_the_definition(
    device: torch.device,
    channels: int,
    frames: int,
    rows: int,
    columns: int,
    last: bool,
    dtype: torch.dtype,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    layout = torch.channels_last_3d if last else torch.contiguous_format
    x = torch.randn(2, channels, frames, rows, columns, device=device).to(dtype)
    x = x.contiguous(memory_format=layout)
    weight = torch.randn(channels, device=device).to(dtype)
    room = torch.full((2, channels, frames + 2, rows, columns), math.nan, device=device)
    room = room.to(dtype).contiguous(memory_format=layout)
    norm_silu(x, weight, room[:, :, 2:])
    wanted = norm_silu_ref(x, weight)
    # what is large is so by sqrt(C), and float16 keeps 11 bits
    limit = 2e-6 if dtype == torch.float32 else 1e-3
    torch.testing.assert_close(
        room[:, :, 2:].double(), wanted, atol=limit * channels**0.5, rtol=limit
    )
    assert room[:, :, :2].isnan().all()


def test_of_nothing_there_is_nothing(device: torch.device) -> None:
    """A pixel whose channels are all zero has no length to be divided by."""
    x = torch.zeros(1, 4, 1, 1, 3, device=device)
    out = torch.ones_like(x)
    norm_silu(x, torch.ones(4, device=device), out)
    assert not out.any()


def test_torch_and_the_kernel_agree_through_dispatch(device: torch.device) -> None:
    torch.manual_seed(2)
    x, weight = torch.randn(1, 12, 2, 3, 5, device=device), torch.randn(12, 1, 1, 1, device=device)
    for backend in ("sdpa", "triton"):
        out = torch.full_like(x, math.nan)
        with dispatch.use_backend(backend):
            dispatch.norm_silu(x, weight, out)
        torch.testing.assert_close(
            out.double(), norm_silu_ref(x, weight.flatten()), atol=1e-5, rtol=1e-5
        )


def test_shapes_are_checked() -> None:
    x = torch.zeros(1, 4, 1, 2, 3)
    with pytest.raises(ValueError, match="expected"):
        norm_silu(x, torch.ones(3), torch.empty_like(x))
    with pytest.raises(ValueError, match="expected"):
        norm_silu(x, torch.ones(4), x[:, :, :, :1])
    with pytest.raises(ValueError, match="not in a row"):
        norm_silu(x, torch.ones(4), torch.empty(1, 4, 1, 2, 6)[..., :3])
