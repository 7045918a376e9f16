"""The definition of rotated keys, in float64."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..axis_rotations import AxisRotations, rotated_pairs
from ..ring_plan import Span


def rotate_keys_ref(key: Tensor, spans: Sequence[Span], rotation: AxisRotations) -> Tensor:
    """As `key_rotation.rotate_keys`; the result is float64."""
    rotations = [
        rotation.expand(range(s.place, s.place + s.tokens // rotation.frame_tokens)) for s in spans
    ]
    return rotated_pairs(key.double(), torch.cat(rotations))
