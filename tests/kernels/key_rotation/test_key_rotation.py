"""Turned keys against their float64 definition.

Relative errors: float32 rounds a few times, float16 once more at the end (4.9e-4 at most).
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import strategies as st

pytest.importorskip("triton")

from rollcast.kernels.key_rotation.key_rotation import rotate_keys
from rollcast.kernels.key_rotation.reference import rotate_keys_ref
from rollcast.kernels.ring_plan import Span, spans_of

from ...variants import examples
from ..rotations import rotations

LIMITS = {torch.float32: 2e-6, torch.float16: 5e-4}


@pytest.mark.slow
@examples(
    8,
    25,
    sinks=st.integers(0, 2),
    window=st.integers(1, 4),
    newest=st.integers(0, 3),
    heads=st.integers(1, 3),
    dim=st.sampled_from((6, 16, 26)),
    rows=st.integers(1, 3),
    columns=st.integers(1, 5),
    dtype=st.sampled_from((torch.float32, torch.float16)),
    seed=st.integers(0, 999),
)
def test_equals_the_definition(
    device: torch.device,
    sinks: int,
    window: int,
    newest: int,
    heads: int,
    dim: int,
    rows: int,
    columns: int,
    dtype: torch.dtype,
    seed: int,
) -> None:
    """A ring with any sink, wrapped anywhere; keys are a view of a longer cache."""
    torch.manual_seed(seed)
    order = [*range(sinks), *(sinks + (i - newest) % window for i in range(window))]
    spans = spans_of(order, rows * columns)
    slots = len(order) * rows * columns
    cache = torch.full((2, heads, slots + 7, dim), float("nan"), device=device, dtype=dtype)
    cache[:, :, :slots] = torch.randn(2, heads, slots, dim, device=device).to(dtype)
    key, axes = cache[:, :, :slots], rotations(dim, rows, columns, len(order), device)
    made, wanted = rotate_keys(key, spans, axes), rotate_keys_ref(key, spans, axes)
    assert made.dtype == dtype and made.is_contiguous()
    assert float((made.double() - wanted).norm() / wanted.norm()) < LIMITS[dtype]


@pytest.mark.parametrize(
    "spans",
    [
        (Span(0, 6, 0),),
        (Span(0, 6, 0), Span(7, 6, 2)),
        (Span(0, 6, 0), Span(6, 6, 3)),
        (Span(0, 5, 0), Span(5, 7, 2)),
        (Span(0, 12, -1),),
    ],
)
def test_misfits_are_told(device: torch.device, spans: tuple[Span, ...]) -> None:
    key = torch.zeros(1, 1, 12, 16, device=device)
    axes = rotations(16, 1, 3, 4, device)
    with pytest.raises(ValueError, match="spans"):
        rotate_keys(key, spans, axes)
    with pytest.raises(ValueError, match="do not fit"):
        rotate_keys(key[..., :6], (Span(0, 12, 0),), axes)
