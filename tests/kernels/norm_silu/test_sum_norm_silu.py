"""A sum and the norm of it: as one after the other, whatever lies how, and in place."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("triton")

from rollcast.kernels.norm_silu.reference import norm_silu_ref
from rollcast.kernels.norm_silu.sum_norm_silu import sum_norm_silu


@settings(deadline=None, max_examples=12)
@given(
    channels=st.integers(1, 70),
    frames=st.integers(1, 3),
    rows=st.integers(1, 5),
    columns=st.integers(1, 40),
    last=st.tuples(st.booleans(), st.booleans()),
    dtype=st.sampled_from((torch.float32, torch.float16)),
    seed=st.integers(0, 999),
)
def test_equals_the_definition(
    device: torch.device,
    channels: int,
    frames: int,
    rows: int,
    columns: int,
    last: tuple[bool, bool],
    dtype: torch.dtype,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    layouts = [torch.channels_last_3d if each else torch.contiguous_format for each in last]
    x, branch = (
        torch.randn(2, channels, frames, rows, columns, device=device)
        .to(dtype)
        .contiguous(memory_format=layout)
        for layout in layouts
    )
    weight = torch.randn(channels, device=device).to(dtype)
    room = torch.full((2, channels, frames + 2, rows, columns), math.nan, device=device).to(dtype)
    before, wanted = x.clone(), x + branch
    summed = sum_norm_silu(x, branch, weight, room[:, :, 2:])
    # one addition rounds as torch's does
    assert torch.equal(summed, wanted) and torch.equal(branch, wanted) and torch.equal(x, before)
    # what is large is so by sqrt(C), and float16 keeps 11 bits
    limit = 2e-6 if dtype == torch.float32 else 1e-3
    torch.testing.assert_close(
        room[:, :, 2:].double(),
        norm_silu_ref(wanted, weight),
        atol=limit * channels**0.5,
        rtol=limit,
    )
    assert room[:, :, :2].isnan().all()


def test_shapes_are_checked() -> None:
    x, weight = torch.zeros(1, 4, 1, 2, 3), torch.ones(4)
    with pytest.raises(ValueError, match="expected the same"):
        sum_norm_silu(x, x[:, :, :, :1], weight, torch.empty_like(x))
    with pytest.raises(ValueError, match="expected"):
        sum_norm_silu(x, x, torch.ones(3), torch.empty_like(x))
