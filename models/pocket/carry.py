"""What a pocket stream carries from chunk to chunk beside its caches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .audio import SpeechView
from .conditions import FRAME_FEATURES
from .idle import AvatarMotion
from .motion import HeadDrag, SceneMotion, SceneObject


@dataclass(slots=True)
class PocketCarry:
    """Speech heard, motion of head or objects, fingers down, words in force.

    `previous` [1, 24] are the features of the last frame, None before the first one. `words`
    [1, tokens] eases towards `wanted_words` over `easing` chunks.
    """

    speech: SpeechView
    avatar: AvatarMotion
    head: HeadDrag
    objects: SceneMotion | None
    words: Tensor
    wanted_words: Tensor
    easing: int = 0
    previous: Tensor | None = None

    def tensors(self) -> Mapping[str, Tensor]:
        """The tensors to save."""
        previous = torch.zeros(0, FRAME_FEATURES) if self.previous is None else self.previous
        return {
            "speech": torch.from_numpy(self.speech.samples.copy()),
            "words": self.words,
            "wanted_words": self.wanted_words,
            "previous": previous,
        }

    def metadata(self) -> dict[str, Any]:
        """The rest, JSON-able."""
        return {
            "avatar": self.avatar.save(),
            "head": self.head.save(),
            "objects": None if self.objects is None else self.objects.save(),
            "easing": self.easing,
        }

    @classmethod
    def load(
        cls,
        tensors: Mapping[str, Tensor],
        plain: Mapping[str, Any],
        gain: tuple[float, float],
        objects: tuple[SceneObject, ...],
    ) -> PocketCarry:
        """The inverse of `tensors` and `metadata`, for a scene with these `objects`."""
        speech = SpeechView()
        speech.samples = np.array(tensors["speech"].numpy())
        saved = plain["objects"]
        return cls(
            speech=speech,
            avatar=AvatarMotion.load(plain["avatar"]),
            head=HeadDrag.load(plain["head"], gain),
            objects=None if saved is None else SceneMotion.load(saved, objects),
            words=tensors["words"].clone(),
            wanted_words=tensors["wanted_words"].clone(),
            easing=plain["easing"],
            previous=tensors["previous"].clone() if len(tensors["previous"]) else None,
        )
