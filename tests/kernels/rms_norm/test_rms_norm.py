"""The fused root-mean-square norm against its float64 definition; its output is poisoned."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("triton")

from rollcast.benchmarks.gpu.kernel_checks import poisoned_outputs
from rollcast.kernels import dispatch
from rollcast.kernels.rms_norm.reference import rms_norm_ref
from rollcast.kernels.rms_norm.rms_norm import rms_norm


@settings(deadline=None, max_examples=20)
@given(
    tokens=st.integers(1, 150),
    width=st.integers(2, 100),
    dtype=st.sampled_from((torch.float32, torch.float16)),
    seed=st.integers(0, 999),
)
def test_equals_the_definition(
    device: torch.device, tokens: int, width: int, dtype: torch.dtype, seed: int
) -> None:
    torch.manual_seed(seed)
    # a part of something wider, as queries beside keys and values
    x = torch.randn(2, tokens, 3 * width, device=device).to(dtype)[:, :, width : 2 * width]
    weight = torch.randn(width, device=device).to(dtype)
    with poisoned_outputs():
        made = rms_norm(x, weight, 1e-6)
    # float16 rounds the norm and the product, 5e-4 each
    limit = 5e-6 if dtype == torch.float32 else 2e-3
    assert made.dtype == dtype
    torch.testing.assert_close(made.double(), rms_norm_ref(x, weight, 1e-6), atol=limit, rtol=limit)


def test_torch_and_the_kernel_agree_through_dispatch(device: torch.device) -> None:
    torch.manual_seed(1)
    x, weight = torch.randn(1, 7, 12, device=device), torch.randn(12, device=device)
    for backend in ("sdpa", "triton"):
        with dispatch.use_backend(backend):
            made = dispatch.rms_norm(x, weight, 1e-5)
        torch.testing.assert_close(
            made.double(), rms_norm_ref(x, weight, 1e-5), atol=2e-6, rtol=2e-6
        )


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match="expected"):
        rms_norm(torch.zeros(1, 3, 4), torch.zeros(5), 1e-6)
