"""The channels by which Wan's image to video is told of its first picture."""

from __future__ import annotations

import torch
from torch import Tensor

MASK_CHANNELS = 4


def image_channels(condition: Tensor, start: int) -> Tensor:
    """Mask and condition [B, F, 4 + C, h, w] of the latent frames from `start` on.

    `condition` [B, F, C, h, w] are those frames of a clip that shows the picture first and then
    nothing but grey (zeros between -1 and 1). The encoder is causal: a clip of any length begins
    alike. The mask is one at latent frame 0, where the picture is.
    """
    batch, frames, _, height, width = condition.shape
    mask = condition.new_zeros(batch, frames, MASK_CHANNELS, height, width)
    if start == 0:
        mask[:, 0] = 1.0
    return torch.cat((mask, condition), dim=2)
