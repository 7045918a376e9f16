"""Rows in float8: the kernel, bit for bit what torch makes of them; linear layers of such rows."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

pytest.importorskip("triton")

from rollcast.kernels.dispatch import row_scaled_linear
from rollcast.kernels.row_scale.reference import (
    E4M3,
    E4M3_MOST,
    quantise_rows_ref,
    row_scaled_linear_ref,
)
from rollcast.kernels.row_scale.row_scale import quantise_rows
from rollcast.models.student.blocks import SelfAttention
from rollcast.models.student.row_scaled_linear import RowScaledLinear


def test_every_float8_value_and_what_lies_between(device: torch.device) -> None:
    """All values, all middles between neighbours, which go to the even one, and beside those."""
    values = torch.arange(0, 127, dtype=torch.uint8).view(E4M3).float()
    middles = (values[:-1] + values[1:]) / 2
    near = torch.cat([middles * (1 + 2.0**-20), middles * (1 - 2.0**-20)])
    row = torch.cat((values, middles, near))
    row = torch.cat((row, -row))[None].to(device)
    assert float(row.max()) == E4M3_MOST
    made, scale = quantise_rows(row)
    assert scale.item() == 1.0
    assert torch.equal(made.float(), row.to(E4M3).float())


@settings(deadline=None, max_examples=25)
@given(
    rows=st.integers(1, 90),
    width=st.integers(1, 200),
    dtype=st.sampled_from((torch.float32, torch.float16)),
    size=st.sampled_from((1e-6, 1.0, 300.0)),
    seed=st.integers(0, 999),
)
def test_equals_the_definition(
    device: torch.device, rows: int, width: int, dtype: torch.dtype, size: float, seed: int
) -> None:
    torch.manual_seed(seed)
    # a part of something wider, a row of zeros among them
    x = (size * torch.randn(rows, 2 * width, device=device)).to(dtype)[:, width:]
    x[rows // 2] = 0.0
    made, scale = quantise_rows(x)
    wanted, wanted_scale = quantise_rows_ref(x)
    assert torch.equal(scale, wanted_scale)
    assert torch.equal(made.view(torch.uint8) & 0x7F, wanted.view(torch.uint8) & 0x7F)
    assert torch.equal(made.float(), wanted.float())


def test_gelu_is_made_on_the_way(device: torch.device) -> None:
    """Its last bits differ, and with them the scale's; a value may round to its neighbour."""
    torch.manual_seed(1)
    x = 3 * torch.randn(70, 50, device=device)
    made, scale = quantise_rows(x, gelu=True)
    wanted, wanted_scale = quantise_rows_ref(x, gelu=True)
    torch.testing.assert_close(scale, wanted_scale, atol=0.0, rtol=1e-6)
    apart = (made.float() - wanted.float()).abs()
    assert (apart <= wanted.float().abs() / 8 + 2.0**-9).all()
    assert float((apart > 0).float().mean()) < 0.01


@pytest.mark.parametrize("gelu", [False, True])
def test_a_linear_layer_is_its_definition(gelu: bool) -> None:
    """On a CPU: float32 products, so sums of 64 terms are 1e-6 from those in float64."""
    torch.manual_seed(2)
    linear = nn.Linear(64, 24).requires_grad_(False)
    made_of = RowScaledLinear.of(linear)
    x = torch.randn(2, 5, 64)
    made = made_of(x, gelu=gelu)
    wanted = row_scaled_linear_ref(x, made_of.weight, made_of.scale, made_of.bias, gelu=gelu)
    torch.testing.assert_close(made.double(), wanted, atol=2e-6, rtol=1e-5)
    exact = linear(nn.functional.gelu(x, approximate="tanh") if gelu else x)
    # weights and tokens have three bits behind the point
    assert 0.001 < float((made - exact).norm() / exact.norm()) < 0.05
    without = row_scaled_linear(x, made_of.weight, made_of.scale, None, gelu=gelu)
    torch.testing.assert_close(without + made_of.bias, made, atol=1e-6, rtol=1e-6)


def test_three_projections_packed_are_the_same() -> None:
    torch.manual_seed(3)
    attention = SelfAttention(16, 2, 1e-6).requires_grad_(False)
    for name in ("q", "k", "v"):
        setattr(attention, name, RowScaledLinear.of(getattr(attention, name)))
    x = torch.randn(1, 7, 16)
    before = attention._projected(x)  # pyright: ignore[reportPrivateUsage]
    attention.pack()
    after = attention._projected(x)  # pyright: ignore[reportPrivateUsage]
    for apart, together in zip(before, after, strict=True):
        torch.testing.assert_close(together, apart, atol=1e-6, rtol=1e-6)
    assert isinstance(attention.k, RowScaledLinear)
    torch.testing.assert_close(attention.k(x), after[1], atol=1e-6, rtol=1e-6)


def test_misfits_are_told(device: torch.device) -> None:
    with pytest.raises(ValueError, match=r"expected \[N, K\]"):
        quantise_rows(torch.zeros(1, 2, 3, device=device))
