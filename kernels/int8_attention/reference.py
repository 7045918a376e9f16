"""The definition of attention with scores of 8-bit integers, in float64.

After SageAttention (arXiv 2410.02367): a mean key is taken away from all keys, which changes no
weight, because it adds the same to all scores of a query, and leaves less to be rounded. Queries
have a scale each, keys one for each block of `KEY_BLOCK`.
"""

from __future__ import annotations

import torch
from torch import Tensor

KEY_BLOCK = 64
"""Keys that share a scale."""
INT8_MOST = 127.0
SMALLEST = 1e-12
"""What the greatest value counts for at least, so that zeros have a scale."""


def quantise_keys_ref(key: Tensor) -> tuple[Tensor, Tensor]:
    """`key` [B, H, M, D] without its mean over M, int8, and the scales [B, H, blocks], float32.

    In float32, as kernels compute.
    """
    wide = key.float() - key.mean(2, dtype=torch.float32, keepdim=True)
    parts = wide.split(KEY_BLOCK, dim=2)
    scales = torch.stack([part.abs().amax((2, 3)) for part in parts], dim=2)
    scales = scales.clamp_min(SMALLEST) / INT8_MOST
    each = scales.repeat_interleave(KEY_BLOCK, dim=2)[:, :, : key.shape[2], None]
    return (wide / each).round().to(torch.int8), scales


def quantise_queries_ref(query: Tensor) -> tuple[Tensor, Tensor]:
    """`query` [B, H, N, D] in int8, and the scale of each [B, H, N, 1], float32."""
    wide = query.float()
    scales = wide.abs().amax(-1, keepdim=True).clamp_min(SMALLEST) / INT8_MOST
    return (wide / scales).round().to(torch.int8), scales


def int8_attention_ref(
    query: Tensor, key: Tensor, value: Tensor, *, scale: float | None = None
) -> Tensor:
    """Attention [B, H, N, D] of `query` [B, H, N, D] to `key`, `value` [B, Hkv, M, D], float64."""
    return attention_of_integers(query, key, value, scale=scale, dtype=torch.float64)


def attention_of_integers(
    query: Tensor, key: Tensor, value: Tensor, *, scale: float | None, dtype: torch.dtype
) -> Tensor:
    """The same, computed in `dtype`; products of integers are exact in float32 as well."""
    group = query.shape[1] // key.shape[1]
    factor = float(query.shape[-1]) ** -0.5 if scale is None else scale
    queries, of_queries = quantise_queries_ref(query)
    keys, of_keys = quantise_keys_ref(key)
    each = of_keys.repeat_interleave(KEY_BLOCK, dim=2)[:, :, None, : key.shape[2]]

    def shared(x: Tensor) -> Tensor:
        return x if group == 1 else x.repeat_interleave(group, dim=1)

    scores = queries.to(dtype) @ shared(keys).to(dtype).mT
    scores = scores * (of_queries.to(dtype) * shared(each).to(dtype) * factor)
    return scores.softmax(-1) @ shared(value).to(dtype)
