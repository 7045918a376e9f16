"""How a frame of the toy world looks, and how frames lie in a clip.

A latent frame of a student is a chunk of the world: its four pictures of 3x12x12 in 12 channels,
picture after picture, as differences from the background.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rollcast.models.toy_world.config import BACKGROUND, FRAMES, SIZE
from rollcast.models.toy_world.config import CHANNELS as CHANNELS

from .law import GRID

STEP = 4
"""Pixels from node to node."""
_CORNER = (SIZE - STEP * (GRID - 1)) / 2
_SHARPNESS = 4.0


def coverage(centre: Tensor, shape: Tensor) -> Tensor:
    """Share [n, 12, 12] of each pixel that sprites at `centre` px [n, 2] (row, column) cover."""
    pixel = torch.arange(SIZE) + 0.5
    rows = (pixel - centre[:, :1])[:, :, None]
    columns = (pixel - centre[:, 1:])[:, None, :]
    distance = (rows.square() + columns.square()).sqrt()
    ring = _soft(2.3 - distance) * _soft(distance - 1.15)
    arms = [_soft(0.75 - a.abs()) * _soft(2.4 - b.abs()) for a, b in _both(rows, columns)]
    plus = 1 - (1 - arms[0]) * (1 - arms[1])
    return torch.stack([_soft(2.1 - distance), ring, plus], 1)[torch.arange(len(shape)), shape]


def _both(rows: Tensor, columns: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
    return (rows, columns), (columns, rows)


def _soft(x: Tensor) -> Tensor:
    return torch.sigmoid(_SHARPNESS * x)


def colour(hue: Tensor) -> Tensor:
    """RGB in -1..1 [..., 3] of hues."""
    return torch.cos(2 * math.pi * (hue[..., None] - torch.arange(3) / 3))


def hue_of(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """Hue 0..1 and saturation (1: as `colour` makes it) of RGB [..., 3]."""
    turn = torch.exp(2j * math.pi * torch.arange(3) / 3)
    wave = (rgb.to(torch.complex64) * turn).sum(-1)
    return torch.angle(wave) / (2 * math.pi) % 1, wave.abs() / 1.5


def corner_of(place: Tensor) -> Tensor:
    """Pixel centre [..., 2] of grid places."""
    return _CORNER + STEP * place.float()


def path(start: Tensor, direction: Tensor, arc: Tensor) -> Tensor:
    """Where a sprite is in the pictures of a chunk, px [n, 4, 2].

    `start` is where it was in the last one; it goes one node along `direction` [n, 2] (zero: it
    stays), bent by `arc` px to the side.
    """
    share = torch.arange(1, FRAMES + 1) / FRAMES
    across = torch.stack([direction[:, 1], -direction[:, 0]], 1)
    bend = arc[:, None] * torch.sin(math.pi * share)
    along = STEP * share
    return start[:, None] + along[:, None] * direction[:, None] + bend[..., None] * across[:, None]


def draw(centre: Tensor, shape: Tensor, hue: Tensor) -> Tensor:
    """Pictures [n, 3, 12, 12] of sprites, as differences from the background."""
    return coverage(centre, shape)[:, None] * (colour(hue) - BACKGROUND)[:, :, None, None]


def pack(pictures: Tensor) -> Tensor:
    """Latents [n, chunks, 12, 12, 12] of pictures [n, 4 chunks, 3, 12, 12]."""
    return pictures.unflatten(1, (-1, FRAMES)).flatten(2, 3)


def unpack(latents: Tensor) -> Tensor:
    """Pictures [n, 4 chunks, 3, 12, 12] of latents [n, chunks, 12, 12, 12]."""
    return latents.unflatten(2, (FRAMES, 3)).flatten(1, 2)


def shown(latents: Tensor) -> Tensor:
    """Pictures as people see them, RGB 0..1 [n, 4 chunks, 3, 12, 12]."""
    return ((unpack(latents) + BACKGROUND).clamp(-1, 1) + 1) / 2
