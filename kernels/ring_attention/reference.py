"""The definition of ring attention: gather the live slots, softmax in float64."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..ring_plan import Span


def ring_attention_ref(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    spans: Sequence[Span],
    *,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """As `ring_attention.ring_attention`; both results are float64."""
    group = query.shape[1] // key.shape[1]
    keys, values = (
        torch.cat([x[:, :, s.start : s.start + s.tokens] for s in spans], dim=2)
        .double()
        .repeat_interleave(group, dim=1)
        for x in (key, value)
    )
    factor = float(query.shape[-1]) ** -0.5 if scale is None else scale
    scores = query.double() @ keys.transpose(-1, -2) * factor
    lse = torch.logsumexp(scores, dim=-1)
    weights = torch.exp(scores - torch.where(lse.isinf(), 0.0, lse)[..., None])
    return weights @ values, lse
