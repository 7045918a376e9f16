"""What opens the mouth of a picture that somebody brings: taken from one rendered face."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rollcast.models.pocket.autoencoder import PICTURE_SIZE
from rollcast.models.pocket.evaluation.signals import to_signed
from rollcast.models.pocket.opening import MOUTH, Opening, eye_row, lip_row

from .data.clips import portrait
from .data.portrait import FINE, SIZE, Portrait
from .data.rasteriser import EYE, LASH

FACE = "freya-studio"
# rows and columns of a picture in which eyes are
_EYES = slice(150, 215), slice(0, PICTURE_SIZE)
# how far above an eye the skin is that closes it, and how much of its height that has, in pixels
_LID_ABOVE, _LID_HEIGHT = 14.0, 0.25
_EYE_GROWN = (17, 9)


def make_opening(name: str = FACE) -> Opening:
    """The opening of a rendered look."""
    shown = portrait(name)
    both = np.stack([shown.reference_image(), shown.open_image()])
    reference, opened = to_signed(both).split(1)
    eyes, lips = _middle(reference)
    flow, state = shown.way(shown.opened, shown.reference)
    known = torch.from_numpy(state > 0).float()[None, None]
    way = torch.from_numpy(flow).permute(2, 0, 1)[None] * (torch.from_numpy(state) == 1)
    lid, closed = _lids(shown, eyes)
    way, known = way + (lid - way) * closed, torch.maximum(known, closed)
    cell = PICTURE_SIZE // FINE
    mean = F.avg_pool2d(way * known, cell) / F.avg_pool2d(known, cell).clamp(min=0.25)
    # what no surface of the closed face leads to is the inside of the mouth
    matte = _within(torch.from_numpy(state == 0).float(), MOUTH)
    matte = F.avg_pool2d(F.max_pool2d(matte, 3, 1, 1), 3, 1, 1)
    return Opening(mean, torch.cat([opened * matte, matte], 1), eyes, lips)


def _middle(reference: Tensor) -> tuple[int, int]:
    """Rows of eyes and lips, as they will be found in other pictures."""
    near = PICTURE_SIZE // 2
    return eye_row(reference, around=near - 8), lip_row(reference, around=near + 71)


def _lids(shown: Portrait, eyes: int) -> tuple[Tensor, Tensor]:
    """Flow [1, 2, 384, 384] that draws the skin above over the eyes, and where it does."""
    ids = shown.reference.ids
    parts = np.where(ids >= 0, shown.mesh.parts[ids], -1)
    eye = torch.from_numpy(np.isin(parts, (EYE, LASH)).astype(np.float32))
    eye = _within(eye, _EYES)
    tall, wide = _EYE_GROWN
    closed = F.max_pool2d(eye, (tall, wide), 1, (tall // 2, wide // 2))
    row = torch.arange(PICTURE_SIZE, dtype=torch.float32)[:, None].expand_as(eye[0, 0])
    up = (eyes - _LID_ABOVE + _LID_HEIGHT * (row - eyes) - row) * (SIZE / PICTURE_SIZE)
    return torch.stack([torch.zeros_like(up), up])[None], F.avg_pool2d(closed, 5, 1, 2)


def _within(mask: Tensor, box: tuple[slice, slice]) -> Tensor:
    """`mask` [H, W] as [1, 1, H, W], nothing outside of a box."""
    kept = torch.zeros_like(mask)
    kept[box] = mask[box]
    return kept[None, None]
