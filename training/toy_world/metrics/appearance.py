"""Sprites against the law of appearance, and whether a clip keeps its own."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from ..law import CENTRES, PALETTES, SHAPES, draw_hue, hue_gap
from ..reading import Pictures

_FEWEST = 4
_DRAWN = 20_000


def appearance(pictures: Pictures, palette: Tensor) -> dict[str, float]:
    """Of each clip's last picture: hues and shapes against their laws.

    `hue_spread`: circular spread of hues over its truth; 1 in truth, and 0 where nothing is clear.
    `shape_tv`: total variation of shapes from a third each. `palette_accuracy`: share of hues
    nearer to their own palette's centre than to the other's.
    """
    clear = pictures.clear[:, -1]
    hue, shape = pictures.hue[clear, -1], pictures.shape[clear, -1]
    own = palette[clear]
    spread = []
    for k in range(len(PALETTES)):
        hues = hue[own == k]
        spread.append(_spread(hues) / _true_spread(k) if len(hues) >= _FEWEST else 0.0)
    share = torch.bincount(shape, minlength=len(SHAPES)) / max(1, len(shape))
    nearest = torch.cos(2 * math.pi * (hue[:, None] - CENTRES)).argmax(1)
    return {
        "hue_spread": sum(spread) / len(spread),
        "shape_tv": float((share - 1 / len(SHAPES)).abs().sum() / 2),
        "palette_accuracy": float((nearest == own).float().mean()) if len(own) else 0.0,
    }


def identity(pictures: Pictures, first: Pictures) -> dict[str, float]:
    """Does a clip's sprite stay what it was at the end of the clip's first chunk?

    `hue_drift`: mean distance of hues, 0 to .5. `shape_kept`: share of pictures. Pictures that are
    not clear are not asked; where none is, the drift is as of chance (.25) and no shape is kept.
    """
    asked = pictures.clear & first.clear[:, -1:]
    if not bool(asked.any()):
        return {"hue_drift": 0.25, "shape_kept": 0.0}
    gap = hue_gap(pictures.hue, first.hue[:, -1:])
    kept = pictures.shape == first.shape[:, -1:]
    return {
        "hue_drift": float(gap[asked].mean()),
        "shape_kept": float(kept[asked].float().mean()),
    }


def copying(latents: Tensor, first: Tensor) -> float:
    """Correlation of each clip's last chunk with its first, less that with other clips' firsts.

    0 where the place is forgotten as it should be; what a sink that is copied from raises.
    """
    last = torch.nn.functional.normalize(latents[:, -1].flatten(1), dim=1)
    begin = torch.nn.functional.normalize(first[:, 0].flatten(1), dim=1)
    alike = last @ begin.T
    count = len(alike)
    others = (alike.sum() - alike.trace()) / max(1, count * (count - 1))
    return float(alike.trace() / count - others)


def _spread(hue: Tensor) -> float:
    """Circular standard deviation, in radians."""
    length = torch.exp(2j * math.pi * hue).mean().abs().clamp(1e-6, 1)
    return float((-2 * length.log()).sqrt())


@functools.cache
def _true_spread(palette: int) -> float:
    generator = torch.Generator().manual_seed(3)
    return _spread(draw_hue(torch.full((_DRAWN,), palette), generator))
