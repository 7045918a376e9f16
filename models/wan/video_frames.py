"""Frames of a live video as a student that redraws it is given them: which, and under what noise.

The noise is motion-aware (StreamDiffusionV2, arXiv 2511.07399, after its published code,
Apache-2.0): fast motion is redrawn with less of it, so that it is followed.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from torch import Tensor

FULL_MOTION = 0.2
"""Change from frame to frame, of values -1 to 1, that counts as the fastest motion."""
MOTION_TAKES = 0.1
"""How much less noise that gets."""
KEEPS = 0.1
"""The weight of the noise before, so that its share does not jump."""
BELOW = 100
"""How much less noise than there is the student is told of, in timesteps."""

Frames = TypeVar("Frames", np.ndarray, Tensor)


def spread(frames: Frames, count: int) -> Frames:
    """`count` frames that stand for those that came [T, ...], in even steps, the newest last.

    Some are left out if there are more, and repeated if there are fewer; T is at least 1.
    """
    came = len(frames)
    return frames[[-(-(index + 1) * came // count) - 1 for index in range(count)]]


def noise_share(frames: Tensor, before: float, base: float) -> float:
    """The share of noise for frames [T, ...], values -1 to 1, of which the first was given before.

    `before` is the share that those had, `base` that of a picture that stands still. The greatest
    step between two of the frames counts, by the root of its mean square (float32).
    """
    steps = frames[1:].float() - frames[:-1].float()
    motion = float(steps.square().flatten(1).mean(1).sqrt().max().div(FULL_MOTION).clamp(0, 1))
    return (base - MOTION_TAKES * motion) * (1 - KEEPS) + before * KEEPS


def told_timestep(share: float) -> float:
    """What the student is told of time in a first step that begins with this share of noise."""
    return float(int(1000 * share) - BELOW)
