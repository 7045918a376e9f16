"""A clip of looks that say recordings, each over its voice's loudness and its lips."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from ...models.pocket.looks import FPS
from ..webp import INK, PAPER, SECONDS, fitted, labelled
from .human import Spoken

SHOWN = 3
_PANEL_HEIGHT, _MARGIN = 48, 5
_VOICE, _LIPS = (74, 84, 98), (255, 159, 67)


def write_clip(spoken: Sequence[Spoken], out: Path) -> int:
    """Write an animated WebP of `spoken` beside each other; its bytes.

    Under each picture its voice's loudness is an area, its lip gap a line, and now is a bar.
    """
    shown = [_over_panel(item, _start(item.expected)) for item in spoken]
    labels = [f"{item.look}  r = {item.agreement:.2f}" for item in spoken]
    data = fitted(labelled(shown, labels))
    out.write_bytes(data)
    return len(data)


def _start(expected: Tensor) -> int:
    """The first frame of the stretch that is shown: the one with most voice."""
    length = min(len(expected), round(SECONDS * FPS))
    sums = expected.unfold(0, length, 1).sum(1)
    return int(sums.argmax())


def _over_panel(item: Spoken, start: int) -> np.ndarray:
    """Frames [T, H + panel, W, 3] of the stretch."""
    rows = slice(start, start + round(SECONDS * FPS))
    frames = item.frames[rows]
    width = frames.shape[2]
    panel = Image.new("RGB", (width, _PANEL_HEIGHT), PAPER)
    pen = ImageDraw.Draw(panel)
    voice, lips = (_curve(values[rows], width) for values in (item.expected, item.gap))
    floor = _PANEL_HEIGHT - _MARGIN
    pen.polygon([(voice[0][0], floor), *voice, (voice[-1][0], floor)], fill=_VOICE)
    pen.line(lips, fill=_LIPS, width=2)
    pictures = []
    for k, frame in enumerate(frames):
        now = panel.copy()
        x = voice[k][0]
        ImageDraw.Draw(now).line([(x, 0), (x, _PANEL_HEIGHT)], fill=INK)
        pictures.append(np.concatenate([frame, np.asarray(now)]))
    return np.stack(pictures)


def _curve(values: Tensor, width: int) -> list[tuple[float, float]]:
    """Points of a line that fills the panel from its least to its greatest value."""
    span = max(float(values.max() - values.min()), 1e-6)
    height = _PANEL_HEIGHT - 2 * _MARGIN
    step = (width - 1) / max(1, len(values) - 1)
    return [
        (k * step, _MARGIN + height * (1 - (float(value) - float(values.min())) / span))
        for k, value in enumerate(values)
    ]
