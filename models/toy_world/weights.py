"""The weight file: matrices in 8 bits with a scale for each row, all else in float16."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

_SCALE = ".scale"
_LEVELS = 127


def packed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`weights` as they are kept: within a 254th of each row's largest."""
    kept: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        if tensor.ndim < 2:
            kept[name] = tensor.half()
            continue
        rows = tensor.flatten(1)
        scale = (rows.abs().amax(1, keepdim=True) / _LEVELS).clamp(min=1e-7).half()
        whole = (rows / scale.float()).round().clamp(-_LEVELS, _LEVELS)
        kept[name] = whole.to(torch.int8).view_as(tensor)
        kept[name + _SCALE] = scale[:, 0]
    return kept


def unpacked(kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The float32 weights of what `packed` made."""
    weights: dict[str, Tensor] = {}
    for name, tensor in kept.items():
        if name.endswith(_SCALE):
            continue
        scale = kept.get(name + _SCALE)
        whole = tensor.float()
        if scale is not None:
            whole = whole * scale.float().reshape(-1, *[1] * (tensor.ndim - 1))
        weights[name] = whole
    return weights
