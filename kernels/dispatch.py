"""Which attention runs: one name for callers, the kernel chosen here."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    mask: Tensor | None = None,
    scale: float | None = None,
) -> Tensor:
    """softmax(query key^T scale + mask) value, [B, H, N, D].

    As `attention_ref.attention_ref`, by torch's fused kernel. Ring caches need no mask: their live
    keys are one contiguous range and softmax does not care for their order.
    """
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)
