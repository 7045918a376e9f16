"""The fused modulation against its float64 definition.

float32 is within a few roundings (2e-6 of values up to 10); float16 rounds the norm and the result
(1e-3 relative each).
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("triton")

from rollcast.kernels.modulation.modulation import modulate
from rollcast.kernels.modulation.reference import modulate_ref


@settings(deadline=None, max_examples=20)
@given(
    frames=st.integers(1, 4),
    tokens=st.integers(1, 70),
    width=st.integers(9, 100),
    dtype=st.sampled_from((torch.float32, torch.float16)),
    seed=st.integers(0, 999),
)
def test_equals_the_definition(
    device: torch.device, frames: int, tokens: int, width: int, dtype: torch.dtype, seed: int
) -> None:
    torch.manual_seed(seed)
    x = (3 + torch.randn(2, frames * tokens, width, device=device)).to(dtype)
    # Strided as a student's: six modulations of a frame beside each other.
    six = torch.randn(2, frames, 6, width, device=device).to(dtype).unsqueeze(3).unbind(2)
    made = modulate(x, six[4], six[1], 1e-6)
    wanted = modulate_ref(x, six[4], six[1], 1e-6)
    limit = 5e-6 if dtype == torch.float32 else 4e-3
    assert made.dtype == dtype
    torch.testing.assert_close(made.double(), wanted, atol=4 * limit, rtol=limit)


def test_tokens_must_be_whole_frames(device: torch.device) -> None:
    with pytest.raises(ValueError, match="whole frames"):
        modulate(torch.zeros(1, 5, 4), torch.zeros(1, 2, 1, 4), torch.zeros(1, 2, 1, 4), 1e-6)
