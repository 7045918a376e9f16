"""Gate, residual and norm in one pass against their float64 definition; outputs are poisoned.

float32 is within a few roundings (2e-6 of values up to 10); float16 rounds the sum, the norm and
the result (1e-3 relative each).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

pytest.importorskip("triton")

from rollcast.benchmarks.gpu.kernel_checks import poisoned_outputs
from rollcast.kernels import dispatch
from rollcast.kernels.residual_norm.reference import (
    residual_layer_norm_ref,
    residual_modulate_ref,
)
from rollcast.kernels.residual_norm.residual_norm import residual_layer_norm, residual_modulate


@pytest.mark.parametrize("affine", [False, True])
@settings(deadline=None, max_examples=20)
@given(
    frames=st.integers(1, 4),
    tokens=st.integers(1, 70),
    width=st.integers(9, 100),
    gated=st.booleans(),
    dtype=st.sampled_from((torch.float32, torch.float16)),
    seed=st.integers(0, 999),
)
def test_it_equals_the_definition(
    device: torch.device,
    affine: bool,
    frames: int,
    tokens: int,
    width: int,
    gated: bool,
    dtype: torch.dtype,
    seed: int,
) -> None:
    """Modulated, and with weight and bias."""
    x, branch, six = _drawn(device, frames, tokens, width, dtype, seed)
    operation, reference, parts = residual_modulate, residual_modulate_ref, (six[4], six[1])
    if affine:
        operation, reference = residual_layer_norm, residual_layer_norm_ref
        weight, bias = torch.randn(2, width, device=device).to(dtype).unbind(0)
        parts = weight, bias
    given_parts = (x, branch, six[2] if gated else None, *parts, 1e-6)
    with poisoned_outputs():
        made = operation(*given_parts)
    _assert_close(made, reference(*given_parts), dtype)


@pytest.mark.parametrize(
    ("operation", "reference"),
    [
        (dispatch.residual_modulate, residual_modulate_ref),
        (dispatch.residual_layer_norm, residual_layer_norm_ref),
    ],
)
def test_torch_and_the_kernel_agree_through_dispatch(
    device: torch.device, operation: Callable[..., Any], reference: Callable[..., Any]
) -> None:
    x, branch, six = _drawn(device, 3, 5, 24, torch.float32, 7)
    affine = operation is dispatch.residual_layer_norm
    parts = torch.randn(2, 24, device=device).unbind(0) if affine else (six[0], six[1])
    wanted = reference(x, branch, six[2], *parts, 1e-6)
    for backend in ("sdpa", "triton"):
        with dispatch.use_backend(backend):
            _assert_close(operation(x, branch, six[2], *parts, 1e-6), wanted, torch.float32)


def test_a_row_of_a_wider_matrix_is_read_where_it_lies(device: torch.device) -> None:
    x, branch, six = _drawn(device, 2, 9, 16, torch.float32, 3)
    wide = torch.randn(2, 18, 48, device=device)
    wide[:, :, 16:32] = branch
    parts = six[2], six[0], six[1], 1e-6
    made = residual_modulate(x, wide[:, :, 16:32], *parts)
    _assert_close(made, residual_modulate_ref(x, branch, *parts), torch.float32)


def test_shapes_are_checked(device: torch.device) -> None:
    x, one = torch.zeros(1, 5, 4), torch.zeros(4)
    frame = torch.zeros(1, 2, 1, 4)
    with pytest.raises(ValueError, match="whole frames"):
        residual_modulate(x, x, None, frame, frame, 1e-6)
    with pytest.raises(ValueError, match="expected the same"):
        residual_layer_norm(x, x[:, :4], None, one, one, 1e-6)
    with pytest.raises(ValueError, match="gate"):
        residual_layer_norm(x, x, frame, one, one, 1e-6)


def _drawn(
    device: torch.device, frames: int, tokens: int, width: int, dtype: torch.dtype, seed: int
) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
    """Strided as a student's: six modulations of a frame beside each other."""
    torch.manual_seed(seed)
    x = (3 + torch.randn(2, frames * tokens, width, device=device)).to(dtype)
    branch = torch.randn(2, frames * tokens, width, device=device).to(dtype)
    six = torch.randn(2, frames, 6, width, device=device).to(dtype).unsqueeze(3).unbind(2)
    return x, branch, six


def _assert_close(
    made: tuple[Tensor, Tensor], wanted: tuple[Tensor, Tensor], dtype: torch.dtype
) -> None:
    limit = 5e-6 if dtype == torch.float32 else 4e-3
    for one, other in zip(made, wanted, strict=True):
        assert one.dtype == dtype
        torch.testing.assert_close(one.double(), other, atol=4 * limit, rtol=limit)
