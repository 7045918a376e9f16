"""What reaches a session besides messages and packets, from ways that carry sound of their own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class LiveSound:
    """Sound of a microphone, as it is said: int16 mono [n], `rate` samples per second."""

    samples: np.ndarray
    rate: int


@dataclass(frozen=True, slots=True)
class LinkReport:
    """The viewer is there; the way to it carries so much, None: as far as is known, anything."""

    kbps: int | None


Arrival = LiveSound | LinkReport
