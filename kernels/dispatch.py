"""Which attention runs: one name for callers, the kernel chosen here."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# Up to this many keys two plain matrix products have the faster backward pass on a CPU: measured in
# bfloat16 on one thread, 8 ms against 36 ms (448 queries, 16 keys) and 20 ms against 82 ms (seven
# chunks of 64 queries with up to 320 keys). More keys are left to the fused kernel to save memory.
_FEW_KEYS = 1024


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
    training = torch.is_grad_enabled() and query.requires_grad
    if training and mask is None and query.device.type == "cpu" and key.shape[2] <= _FEW_KEYS:
        factor = float(query.shape[-1]) ** -0.5 if scale is None else scale
        return ((query * factor) @ key.transpose(2, 3)).softmax(-1) @ value
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)
