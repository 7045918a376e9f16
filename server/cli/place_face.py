"""A picture of a face as a model that runs here wants it, with a word on what will not do."""

from __future__ import annotations

from pathlib import Path

from ...models.contract import PictureGuide
from ...models.face.placement import WORDS
from ...models.picture import placed
from .options import warn


def place_face(picture: bytes, guide: PictureGuide | None, path: Path) -> bytes:
    """The picture with its face where `guide` says; as it is for a model that takes no faces.

    What a person should know of it is told, with its name. Raises PictureRefused as `placed` does.
    """
    if guide is None:
        return picture
    square, flaws = placed(picture, guide)
    for flaw in flaws:
        warn(f"{path}: {WORDS[flaw]}")
    return square
