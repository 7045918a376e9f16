"""Portraits of rendered people whom no training has seen, as files that somebody could bring."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from training.data.assets import HeadAssets
from training.data.head import build_head
from training.data.portrait import Portrait
from training.data.visitors import visitor

FIRST = 5000
"""Number of the first; the visitors of a data set are far fewer."""
MOUTHS = ("closed", "smiling")
_QUALITY = 92


def draw_portraits(folder: Path, count: int) -> list[Path]:
    """Write `MOUTH-NUMBER.jpg` of so many people with each mouth; equal counts, equal pictures.

    Raises MissingAssetError when the renderer lacks something.
    """
    assets = HeadAssets.load()
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for number in range(FIRST, FIRST + count):
        for mouth in MOUTHS:
            who = visitor(number, mouth)
            shown = Portrait(assets, who, who.outfits[0], build_head(assets, who))
            written.append(folder / f"{mouth}-{number}.jpg")
            Image.fromarray(shown.photograph()).save(written[-1], quality=_QUALITY)
    return written
