"""The definition of gate, residual and norm, in float64."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def residual_modulate_ref(
    x: Tensor, branch: Tensor, gate: Tensor | None, shift: Tensor, scale: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """As `residual_norm.residual_modulate`; both results are float64."""
    summed = _summed(x, branch, gate)
    normed = F.layer_norm(summed, summed.shape[-1:], eps=eps).unflatten(1, (shift.shape[1], -1))
    return summed, (normed * (1 + scale.double()) + shift.double()).flatten(1, 2)


def residual_layer_norm_ref(
    x: Tensor, branch: Tensor, gate: Tensor | None, weight: Tensor, bias: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """As `residual_norm.residual_layer_norm`; both results are float64."""
    summed = _summed(x, branch, gate)
    return summed, F.layer_norm(summed, summed.shape[-1:], weight.double(), bias.double(), eps)


def _summed(x: Tensor, branch: Tensor, gate: Tensor | None) -> Tensor:
    if gate is None:
        return x.double() + branch.double()
    parts = branch.double().unflatten(1, (gate.shape[1], -1))
    return x.double() + (gate.double() * parts).flatten(1, 2)
