"""Which conditioner belongs to what a preset states."""

from __future__ import annotations

from typing import Any

from ...presets.conditioning import Conditioning
from ...presets.start_image import StartImage
from ...presets.text_prompt import TextPrompt
from .conditioner import Conditioner, Parts
from .start_image import StartImageConditioner
from .text import TextConditioner

_KINDS: dict[type[Conditioning], type[Any]] = {
    TextPrompt: TextConditioner,
    StartImage: StartImageConditioner,
}


def conditioners(parts: Parts) -> list[Conditioner[Any]]:
    """One for each kind that the preset states, in its order; they load what they need.

    Raises ValueError and FileNotFoundError for files that do not fit or are missing.
    """
    return [_KINDS[type(stated)](stated, parts) for stated in parts.preset.conditioning]
