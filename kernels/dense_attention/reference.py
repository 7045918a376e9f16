"""The definition of attention here: softmax in float64, written out."""

from __future__ import annotations

import torch
from torch import Tensor


def attention_ref(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    mask: Tensor | None = None,
    scale: float | None = None,
) -> Tensor:
    """softmax(query key^T scale + mask) value, [B, H, N, D] in the dtype of `query`.

    `key` [B, H, M, D], `value` [B, H, M, Dv]; `mask` is added, broadcastable to [B, H, N, M];
    `scale` defaults to D ** -0.5.
    """
    factor = float(query.shape[-1]) ** -0.5 if scale is None else scale
    scores = query.double() @ key.double().transpose(-1, -2) * factor
    if mask is not None:
        scores = scores + mask.double()
    return (torch.softmax(scores, dim=-1) @ value.double()).to(query.dtype)
