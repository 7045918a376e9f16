"""What happens in clips, read from their pictures alone: decoding by synthesis.

Each picture is compared with every sprite at every place of a grid of quarter pixels; the best one
in least squares is what it shows, in the colour that fits best.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from .law import DIRECTIONS, GRID, SHAPES
from .picture import (
    BACKGROUND,
    FRAMES,
    SIZE,
    STEP,
    corner_of,
    coverage,
    hue_of,
    unpack,
)

ILLEGAL = -1
"""What a chunk did that no path of the world explains."""
_PRECISION = 0.25
# squared error to the best sprite: .36 at most in truth, where a sprite has about 35
_MOST_LEFT = 4.0
_MOST_SATURATION = 0.25
_OFF_NODE, _OFF_PATH, _MOST_ARC = 1.0, 0.8, 1.6
_AT_ONCE = 512


@dataclass(frozen=True, slots=True)
class Pictures:
    """What each picture shows [n, T]."""

    centre: Tensor  # px [n, T, 2]
    shape: Tensor
    hue: Tensor
    clear: Tensor  # whether there is one sprite, of a colour of the world, and nothing else


@dataclass(frozen=True, slots=True)
class Moves:
    """What each chunk but the first did, as the pictures before it tell [n, chunks - 1]."""

    outcome: Tensor  # ILLEGAL, or 0 (stay), or 1 + direction
    before: Tensor  # the node it went from
    arc: Tensor  # px


@functools.cache
def _sprites() -> tuple[Tensor, Tensor, Tensor]:
    """Places [P, 2], all sprites at them [3 P, 144], and their energies."""
    with torch.inference_mode(False):
        line = torch.arange(1, SIZE - 1 + 0.01, _PRECISION)
        places = torch.cartesian_prod(line, line)
        kinds = [torch.full((len(places),), kind) for kind in range(len(SHAPES))]
        masks = torch.cat([coverage(places, kind) for kind in kinds]).flatten(1)
        return places, masks, masks.square().sum(1)


@torch.no_grad()
def read_pictures(latents: Tensor) -> Pictures:
    """The sprite of each picture of latents [n, chunks, 12, 12, 12]."""
    places, masks, energy = _sprites()
    frames = unpack(latents.float()).flatten(3)
    best, rgb, left = [], [], []
    for part in frames.flatten(0, 1).split(_AT_ONCE):
        onto = part @ masks.T
        gain, index = (onto.square().sum(1) / energy).max(1)
        own = index[:, None, None].expand(-1, 3, 1)
        best.append(index)
        rgb.append(onto.gather(2, own)[..., 0] / energy[index, None])
        left.append(part.square().sum((1, 2)) - gain)
    index, shape = torch.cat(best), frames.shape[:2]
    hue, saturation = hue_of(torch.cat(rgb) + BACKGROUND)
    clear = (torch.cat(left) < _MOST_LEFT) & ((saturation - 1).abs() < _MOST_SATURATION)
    return Pictures(
        places[index % len(places)].unflatten(0, shape),
        (index // len(places)).unflatten(0, shape),
        hue.unflatten(0, shape),
        clear.unflatten(0, shape),
    )


def read_moves(pictures: Pictures) -> Moves:
    """Which move leads from each chunk's last picture through the next chunk's four."""
    centre = pictures.centre.unflatten(1, (-1, FRAMES))
    end = centre[:, :-1, -1]
    place, at_node = _nearest(end)
    ways = torch.cat([torch.zeros(1, 2), DIRECTIONS.float()])
    gone = centre[:, 1:] - end[:, :, None]
    outcome = (gone[:, :, -1, None] - STEP * ways).norm(dim=-1).argmin(-1)
    way = ways[outcome]
    across = torch.stack([way[..., 1], -way[..., 0]], -1)
    wanted = STEP * torch.arange(1, FRAMES + 1) / FRAMES
    along = ((gone * way[:, :, None]).sum(-1) - wanted).abs()
    bend = (gone * across[:, :, None]).sum(-1)
    off = torch.where((outcome > 0)[..., None], along, gone.norm(dim=-1)).amax(-1)
    clear = pictures.clear.unflatten(1, (-1, FRAMES)).all(2)
    legal = (off < _OFF_PATH) & (bend.abs().amax(-1) < _MOST_ARC)
    legal &= at_node & _nearest(centre[:, 1:, -1])[1]
    legal &= clear[:, 1:] & clear[:, :-1]
    node = (place[..., 0] * GRID + place[..., 1]).long()
    # half way the bend is the arc itself
    return Moves(torch.where(legal, outcome, ILLEGAL), node, bend[:, :, FRAMES // 2 - 1])


def _nearest(centre: Tensor) -> tuple[Tensor, Tensor]:
    """The grid place next to `centre` px [..., 2], and whether a sprite there stands on it."""
    place = ((centre - corner_of(torch.zeros(2))) / STEP).round().clamp(0, GRID - 1)
    return place, (centre - corner_of(place)).norm(dim=-1) < _OFF_NODE
