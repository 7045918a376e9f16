"""Picture losses of the autoencoder and of the student's pixel term."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from rollcast.models.pocket.autoencoder import FRAME_SIZE

MOUTH_BOX = (21, 18)  # half width, half height in pixels
EYE_BOX = (14, 11)
_MOUTH_WEIGHT = 5.0
_EYE_WEIGHT = 5.0
# a box whose pixels vary less than this counts for more: dark skin has small differences
_USUAL_CONTRAST = 0.30
_MAX_LIFT = 3.0
# streams leave the open picture out in rows of cells where nothing takes any of it
_SHUT = 2e-3


def box_mask(centre: Tensor, half: tuple[int, int], size: int = FRAME_SIZE) -> Tensor:
    """[B, size, size] true within `half` of `centre` px [B, 2]."""
    line = torch.arange(size, dtype=torch.float32)
    inside_x = (line - centre[:, 0, None]).abs() < half[0]
    inside_y = (line - centre[:, 1, None]).abs() < half[1]
    return inside_y[:, :, None] & inside_x[:, None, :]


def focus(frames: Tensor, boxes: Tensor, is_avatar: Tensor) -> Tensor:
    """Pixel weights [B, 1, H, W] that lift mouth and eyes, more where contrast is low.

    `frames` -1..1 [B, 3, H, W]; `boxes` px [B, 3, 2] (mouth, eye, eye).
    """
    weight = torch.ones(frames.shape[0], *frames.shape[-2:])
    masks = [
        (box_mask(boxes[:, 0], MOUTH_BOX), _MOUTH_WEIGHT),
        (box_mask(boxes[:, 1], EYE_BOX) | box_mask(boxes[:, 2], EYE_BOX), _EYE_WEIGHT),
    ]
    grey = frames.mean(1)
    for mask, strength in masks:
        count = mask.sum((1, 2)).clamp(min=1)
        mean = (grey * mask).sum((1, 2)) / count
        spread = (((grey - mean[:, None, None]) ** 2 * mask).sum((1, 2)) / count).sqrt()
        lift = (_USUAL_CONTRAST / spread.clamp(min=1e-3)).clamp(1, _MAX_LIFT)
        gain = (strength * lift - 1) * is_avatar
        weight = weight + gain[:, None, None] * mask
    return weight[:, None]


def _slopes(x: Tensor) -> tuple[Tensor, Tensor]:
    return x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]


def picture_loss(real: Tensor, made: Tensor, weight: Tensor) -> Tensor:
    """Weighted L1 of pixels and of their slopes, plus L1 at quarter size."""
    loss = ((real - made).abs() * weight).mean()
    (rx, ry), (mx, my) = _slopes(real), _slopes(made)
    loss = loss + ((rx - mx).abs() * weight[..., 1:]).mean()
    loss = loss + ((ry - my).abs() * weight[..., 1:, :]).mean()
    return loss + 0.5 * (F.avg_pool2d(real, 4) - F.avg_pool2d(made, 4)).abs().mean()


def choice_loss(choice: Tensor, in_closed: Tensor, in_open: Tensor) -> Tensor:
    """What can be seen in one of a look's two pictures only must be drawn from it.

    `choice` [B, 1, h, w] logits of the open picture; `in_closed`, `in_open` [B, 1, h, w] say where
    each picture shows what the frame shows. Teeth and lids are few pixels, so both sides count by
    their own number.
    """
    logits = choice.float()
    cases = ((in_open & ~in_closed, -logits), (in_closed & ~in_open, logits))
    return torch.stack([(F.softplus(x) * m).sum() / (m.sum() + 1) for m, x in cases]).sum()


def shut_loss(choice: Tensor) -> Tensor:
    """What drawing from the open picture costs where both show the same; `choice` as above."""
    return _SHUT * F.softplus(choice.float()).mean()


def psnr(squared_error: Tensor) -> float:
    """PSNR in dB of a mean squared error on the -1..1 scale."""
    return float(10 * torch.log10(4 / squared_error.clamp(min=1e-12)))
