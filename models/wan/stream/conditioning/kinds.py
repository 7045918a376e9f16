"""Which conditioner belongs to what a preset states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...presets.conditioning import Conditioning
from ...presets.dragged_points import DraggedPoints
from ...presets.image_to_video import ImageToVideo
from ...presets.live_video import LiveVideo
from ...presets.preset import Preset
from ...presets.reference_image import ReferenceImage
from ...presets.speech import Speech
from ...presets.start_image import StartImage
from ...presets.text_prompt import TextPrompt
from .conditioner import Conditioner, Parts
from .dragged_points import PointsConditioner
from .image_to_video import ImageConditioner
from .reference_image import ReferenceConditioner
from .speech import SpeechConditioner
from .start_image import StartImageConditioner
from .text import TextConditioner
from .video import VideoConditioner

_KINDS: dict[type[Conditioning], type[Any]] = {
    LiveVideo: VideoConditioner,
    TextPrompt: TextConditioner,
    ImageToVideo: ImageConditioner,
    DraggedPoints: PointsConditioner,
    StartImage: StartImageConditioner,
    ReferenceImage: ReferenceConditioner,
    Speech: SpeechConditioner,
}


def check_encoder(preset: Preset, encoder: Path | None) -> None:
    """Raise ValueError for an encoder's file that a preset has no use for."""
    inputs = preset.info().inputs
    if encoder is not None and inputs.image is None and inputs.video is None:
        raise ValueError(f"{preset.name} takes no image or video: leave the encoder away")


def conditioners(parts: Parts) -> list[Conditioner[Any]]:
    """One for each kind that the preset states, in its order; they load what they need.

    Raises ValueError and FileNotFoundError for files that do not fit or are missing.
    """
    return [_KINDS[type(stated)](stated, parts) for stated in parts.preset.conditioning]
