"""What a chunk of a pocket stream is conditioned on: faces, things in motion, where a camera is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .audio import CHUNK_FRAMES, VisemeNet
from .conditioning_state import PocketConditioning
from .conditions import (
    EXPRESSIONS,
    FRAME_FEATURES,
    frame_conditions,
    frame_features,
    grouped,
    moved_base,
    pack_tracks,
)
from .idle import NOD
from .looks import Look
from .motion import camera_way, motion_draft, object_tracks
from .speech_gate import SPEAKING, speech_gate, speech_levels

_LOUD = 0.2
# The student was told levels of at most 1. It shows them fainter than its training did; told more,
# faces still do not bend.
_EXPRESSION_STRENGTH = 1.8
_NODS = torch.tensor([NOD.get(name, 0.0) for name in EXPRESSIONS])


class ChunkConditions:
    """Works out the next chunk's conditions and advances a stream's conditioning by it.

    `expressions` are the places of `EXPRESSIONS` among the words; `spread` [28, 1, 1] as latents
    are normalised.
    """

    def __init__(self, visemes: VisemeNet, expressions: Sequence[int], spread: Tensor) -> None:
        self._visemes = visemes
        self._expressions = list(expressions)
        self._spread = spread

    def advance(
        self, conditioning: PocketConditioning, look: Look
    ) -> tuple[bool, dict[str, Tensor]]:
        """Whether someone talks, and the conditions by name."""
        before = self._expression_levels(conditioning.words)
        conditioning.ease_words()
        talking, features = self._next_faces(conditioning, before)
        centres = _next_centres(conditioning)
        previous = features[:, 0] if conditioning.previous is None else conditioning.previous
        frames, speech = frame_conditions(grouped(features, previous))
        conditioning.previous = features[:, -1].clone()
        return talking, {
            "words": conditioning.words,
            "frames": frames,
            "speech": speech,
            "tracks": _tracks(centres, look),
            "base": self._base(centres, look),
            "heard": torch.from_numpy(conditioning.speech.current),
        }

    def _next_faces(self, conditioning: PocketConditioning, before: Tensor) -> tuple[bool, Tensor]:
        """Whether someone talks, and the frame features [1, 4, 29] of a chunk.

        `before` are the expression levels at its beginning.
        """
        levels = speech_levels(conditioning.speech)
        now = levels[CHUNK_FRAMES : 2 * CHUNK_FRAMES]
        talking = bool((now > SPEAKING).any())
        if conditioning.objects is not None:
            return talking, torch.zeros(1, CHUNK_FRAMES, FRAME_FEATURES)
        visemes = conditioning.speech.visemes(self._visemes).clamp(0, 1) * speech_gate(levels)
        dragged = conditioning.head.target()
        share = torch.arange(1, CHUNK_FRAMES + 1)[:, None] / CHUNK_FRAMES
        shown = before + share * (self._expression_levels(conditioning.words) - before)
        loud = np.clip(now / _LOUD, 0, 1)
        motion = torch.from_numpy(
            conditioning.avatar.steps(loud, dragged, (shown @ _NODS).tolist())
        ).float()
        return talking, frame_features(visemes, motion, _EXPRESSION_STRENGTH * shown)[None]

    def _expression_levels(self, words: Tensor) -> Tensor:
        """Levels [5] of `EXPRESSIONS` that the words [1, tokens] in force ask for."""
        return words[0, self._expressions]

    def _base(self, centres: np.ndarray, look: Look) -> Tensor:
        """The look's picture, its objects moved to where they are now."""
        objects = look.entry.objects
        if not objects:
            return look.base
        flow, pan = motion_draft(centres, objects), camera_way(centres, objects)
        return moved_base(look.base, flow[None], pan[None], look.scale, self._spread)


def _next_centres(conditioning: PocketConditioning) -> np.ndarray:
    """Where a scene's objects are in each frame of a chunk, px [4, K, 2]."""
    if conditioning.objects is None:
        return np.zeros((CHUNK_FRAMES, 0, 2))
    return np.stack([conditioning.objects.step() for _ in range(CHUNK_FRAMES)])


def _tracks(centres: np.ndarray, look: Look) -> Tensor:
    return pack_tracks(object_tracks(centres, look.entry.objects, look.entry.scale))[None]
