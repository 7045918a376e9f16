"""A photograph as streams take it: lips closed, and the open picture that is made of it."""

from __future__ import annotations

from functools import cache

import numpy as np

from rollcast.models.pocket.closing import with_closed_lips
from rollcast.models.pocket.evaluation.signals import to_levels, to_signed
from rollcast.models.pocket.opening import Opening

from .opening import make_opening


def as_brought(photograph: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The reference picture and the open one of a photograph, all uint8 RGB [384, 384, 3].

    Networks learn on what they will be shown: not the rendered open mouth, but the one that
    `Opening` makes of the only picture there is.
    """
    reference, lip_row = with_closed_lips(photograph)
    opened = _opening().apply(to_signed(reference[None].copy()), lip_row)
    return reference, to_levels(opened)[0]


@cache
def _opening() -> Opening:
    return make_opening()
