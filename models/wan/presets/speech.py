"""A voice that the student hears, as a preset states it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from ...contract import SpeechInput
from .conditioning import Conditioning
from .preset import Preset
from .source import Source

FEATURE_MS = 20
"""What one feature of wav2vec 2.0 lasts."""
SAMPLE_RATE = 16_000
ENCODER = "audio_encoder"
"""Its folder in diffusers' layout."""


@dataclass(frozen=True, slots=True)
class Speech(Conditioning):
    """Features of wav2vec 2.0, whose weights are `encoder` with a `config.json` beside them.

    A chunk is encoded with `context` features before it and `lookahead` behind it: more of either
    is nearer to what the student was trained with, whole files, and a longer look-ahead is shown
    later (docs/models.md has figures).
    """

    kind: ClassVar[str] = "speech"
    imports: ClassVar[tuple[str, ...]] = ("transformers.models.wav2vec2.modeling_wav2vec2",)
    encoder: Source
    context: int = 400
    lookahead: int = 10

    def inputs(self, size: tuple[int, int], fps: int) -> Mapping[str, Any]:
        """Speech, late by the look-ahead."""
        del size, fps
        return {"speech": SpeechInput(SAMPLE_RATE, self.lookahead * FEATURE_MS)}

    def sources(self) -> Mapping[str, Source]:
        """The encoder."""
        return {ENCODER: self.encoder}


def looking_ahead(preset: Preset, lookahead_ms: int | None) -> Preset:
    """The preset with a voice that is heard so much ahead; None: as it says itself.

    Raises ValueError for a preset that hears none, and for what is no number of features.
    """
    if lookahead_ms is None:
        return preset
    speech = preset.stated(Speech)
    if speech is None:
        raise ValueError(f"{preset.name} hears no speech: leave the look-ahead away")
    if lookahead_ms < FEATURE_MS or lookahead_ms % FEATURE_MS:
        raise ValueError(
            f"look-ahead {lookahead_ms} ms; expected a multiple of {FEATURE_MS} ms, {FEATURE_MS} "
            "at least"
        )
    other = replace(speech, lookahead=lookahead_ms // FEATURE_MS)
    kinds = tuple(other if each is speech else each for each in preset.conditioning)
    return replace(preset, conditioning=kinds)
