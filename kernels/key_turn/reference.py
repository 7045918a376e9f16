"""The definition of turned keys, in float64."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..axis_rotations import AxisRotations, rotate_pairs_of
from ..ring_plan import Span


def turn_keys_ref(key: Tensor, spans: Sequence[Span], rotation: AxisRotations) -> Tensor:
    """As `key_turn.turn_keys`; the result is float64."""
    turns = [
        rotation.expand(range(s.place, s.place + s.tokens // rotation.frame_tokens)) for s in spans
    ]
    return rotate_pairs_of(key.double(), torch.cat(turns))
