"""The definition of a DiT block's modulation, in float64."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def modulate_ref(x: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Tensor:
    """As `modulation.modulate`; the result is float64."""
    normed = F.layer_norm(x.double(), x.shape[-1:], eps=eps).unflatten(1, (shift.shape[1], -1))
    return (normed * (1 + scale.double()) + shift.double()).flatten(1, 2)
