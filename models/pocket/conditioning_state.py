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
from .looks import LookEncoder, OwnPicture, bytes_tensor, tensor_bytes
from .motion import HeadDrag, SceneMotion, SceneObject


@dataclass(slots=True)
class PocketConditioning:
    """Speech heard, motion of head or objects, fingers down, words in force, a picture brought.

    `previous` [1, 29] are the features of the last frame, None before the first one. `words`
    [1, tokens] eases towards `wanted_words` over `easing` chunks; `sink_words` were in force when
    the caches began, None: they have not. The chunk before this one took `steps` denoising steps,
    None: all.
    """

    speech: SpeechView
    avatar: AvatarMotion
    head: HeadDrag
    objects: SceneMotion | None
    words: Tensor
    wanted_words: Tensor
    easing: int = 0
    previous: Tensor | None = None
    picture: OwnPicture | None = None
    sink_words: Tensor | None = None
    steps: int | None = None

    def words_of_sink(self) -> Tensor:
        """Those in force when the caches began, or begin now."""
        if self.sink_words is None:
            self.sink_words = self.words
        return self.sink_words

    def ease_words(self) -> None:
        """Let the words in force come a chunk nearer to those wanted."""
        if self.easing:
            self.words = self.words + (self.wanted_words - self.words) / self.easing
            self.easing -= 1

    def tensors(self) -> Mapping[str, Tensor]:
        """The tensors to save."""
        previous = torch.zeros(0, FRAME_FEATURES) if self.previous is None else self.previous
        square = b"" if self.picture is None else self.picture.square
        return {
            "speech": torch.from_numpy(self.speech.samples.copy()),
            "words": self.words,
            "wanted_words": self.wanted_words,
            "previous": previous,
            "picture": bytes_tensor(square),
            "sink_words": self.words[:0] if self.sink_words is None else self.sink_words,
        }

    def metadata(self) -> dict[str, Any]:
        """The rest, JSON-able."""
        return {
            "avatar": self.avatar.save(),
            "head": self.head.save(),
            "objects": None if self.objects is None else self.objects.save(),
            "easing": self.easing,
            "steps": self.steps,
        }

    @classmethod
    def load(
        cls,
        tensors: Mapping[str, Tensor],
        plain: Mapping[str, Any],
        gain: tuple[float, float],
        objects: tuple[SceneObject, ...],
        look_encoder: LookEncoder,
    ) -> PocketConditioning:
        """The inverse of `tensors` and `metadata`, for a scene with these `objects`."""
        square = tensor_bytes(tensors["picture"])
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
            picture=look_encoder.own(square) if square else None,
            sink_words=tensors["sink_words"].clone() if len(tensors["sink_words"]) else None,
            steps=plain["steps"],
        )
