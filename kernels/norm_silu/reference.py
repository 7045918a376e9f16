"""The definition of the norm over channels and SiLU, in float64."""

from __future__ import annotations

from torch import Tensor

LEAST = 1e-12
"""A length is taken for no less than this."""


def norm_silu_ref(x: Tensor, weight: Tensor) -> Tensor:
    """As `norm_silu.norm_silu`; the result is float64."""
    wide = x.double()
    length = wide.square().sum(1, keepdim=True).sqrt().clamp_min(LEAST)
    normed = wide / length * x.shape[1] ** 0.5 * weight.double().view(-1, 1, 1, 1)
    return normed * normed.sigmoid()
