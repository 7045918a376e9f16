"""The definition of attention of queries that are normed first, in float64."""

from __future__ import annotations

from torch import Tensor

from ..dense_attention.reference import attention_ref
from ..rms_norm.reference import rms_norm_ref


def normed_attention_ref(
    query: Tensor, weight: Tensor, key: Tensor, value: Tensor, eps: float
) -> Tensor:
    """As `normed_attention.normed_attention`; the result is float64."""
    normed = rms_norm_ref(query, weight, eps).unflatten(2, (key.shape[1], -1)).transpose(1, 2)
    seen = attention_ref(normed, key.double(), value.double())
    return seen.transpose(1, 2).flatten(2)
