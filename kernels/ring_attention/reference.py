"""The definition of ring attention: gather the live slots, turn them, softmax in float64."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..axis_rotations import AxisRotations, rotate_pairs_of
from ..ring_plan import Span


def ring_attention_ref(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    spans: Sequence[Span],
    *,
    rotation: AxisRotations | None = None,
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
    if rotation is not None:
        keys = _turn(keys, spans, rotation)
    factor = float(query.shape[-1]) ** -0.5 if scale is None else scale
    scores = query.double() @ keys.transpose(-1, -2) * factor
    lse = torch.logsumexp(scores, dim=-1)
    weights = torch.exp(scores - torch.where(lse.isinf(), 0.0, lse)[..., None])
    return weights @ values, lse


def _turn(keys: Tensor, spans: Sequence[Span], rotation: AxisRotations) -> Tensor:
    turns = [
        rotation.expand(range(s.place, s.place + s.tokens // rotation.frame_tokens)) for s in spans
    ]
    return rotate_pairs_of(keys, torch.cat(turns))
