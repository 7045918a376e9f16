"""A voice: what was said around a chunk becomes tokens that its frames attend to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....contract import Controls, StreamRequest
from ....live_avatar.inputs import speech_tokens
from ....live_avatar.live_speech import LiveSpeech, SpeechListener, SpeechView
from ....live_avatar.speech_encoder import (
    HOP,
    SpeechEncoder,
    empty_speech_encoder,
    load_speech_encoder,
    speech_config,
)
from ....live_avatar.speech_frames import FEATURE_RATE
from ....student.conditioning import Conditions
from ....upload import uploaded
from ...presets.speech import ENCODER, Speech
from .conditioner import CallInputs, Change, ChunkPlace, Conditioner, Entry, Parts, PlanPart


@dataclass(slots=True)
class SpeechState:
    """What was heard, and the samples int16 that wait to be: no chunk had room for them yet."""

    speech: LiveSpeech
    waiting: np.ndarray

    def tensors(self) -> Mapping[str, Tensor]:
        """The tensors to save."""
        return {**self.speech.tensors(), "waiting": torch.from_numpy(self.waiting)}

    def metadata(self) -> dict[str, Any]:
        """The rest."""
        return self.speech.metadata()


class SpeechConditioner(Conditioner[SpeechState]):
    """A preset's voice, heard by wav2vec 2.0 and the student's own projector."""

    kind = Speech.kind

    def __init__(self, stated: Speech, parts: Parts) -> None:
        """Raises ValueError where transformers is missing, and for an encoder that does not fit."""
        if find_spec("transformers") is None:
            raise ValueError(
                f"{parts.preset.name} hears speech with transformers; install rollcast[wan]"
            )
        assert parts.network is not None, "a model has a student"
        self._network = parts.network
        self._pixel_frames = parts.preset.latents.frames
        # of a stream's first latent one frame is shown, the last
        self._left_out = self._pixel_frames - 1
        encoder = _encoder(parts)
        avatar = parts.student.avatar
        heard = None if avatar is None else (avatar.audio_layers, avatar.audio_dim)
        if heard != (encoder.layers, encoder.width):
            raise ValueError(
                f"{stated.encoder.path} has {encoder.layers} layers of {encoder.width} features; "
                f"the student of {parts.preset.name} hears {heard}"
            )
        self._most = 2 * parts.preset.info().chunk_samples
        view = SpeechView(stated.context, stated.lookahead)
        self._listener = SpeechListener(encoder, view, parts.preset.fps)

    def start(self, request: StreamRequest) -> SpeechState:
        """Silence."""
        del request
        return SpeechState(self._listener.begin(self._left_out), _nothing())

    def restore(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> SpeechState:
        """The state that was saved."""
        waiting = tensors["waiting"].numpy()
        return SpeechState(LiveSpeech.load(tensors, metadata), waiting)

    def asked(self, state: SpeechState, controls: Controls) -> Change:
        """Take what is fed, and before that drop what is not shown yet, as a new beginning does."""
        clears = controls.clear_audio or controls.starts_anew
        before = state.waiting[:0] if clears else state.waiting
        waiting = np.concatenate((before, controls.audio))
        if len(waiting) > self._most:
            raise ValueError(
                f"{len(waiting)} samples of audio wait; at most {self._most} may, two chunks' worth"
            )

        def change() -> bool:
            if clears:
                state.speech.clear()
            state.waiting = waiting
            return False

        return change

    def plan(self, state: SpeechState, place: ChunkPlace, returned: Tensor | None) -> PlanPart:
        """The tokens of the chunk, and the sound of the frames that are shown."""
        del returned
        if place.chunk == 0 and state.speech.shown:
            state.speech = self._listener.begin(self._left_out, state.speech)
        frames = self._pixel_frames * place.frames
        # of a chunk that starts anew fewer frames are shown than whoever feeds may have thought
        room = self._listener.room(state.speech, frames)
        fed, state.waiting = state.waiting[:room], state.waiting[room:]
        spoken = self._listener.listen(state.speech, fed, frames)
        projector = self._network.casual_audio_encoder
        assert projector is not None, "its config has an avatar"
        tokens = speech_tokens(
            self._network,
            spoken.features.to(projector.weights),
            spoken.history.to(projector.weights),
        )
        left_out = self._left_out if place.chunk == 0 else 0
        heard = spoken.heard[left_out * len(spoken.heard) // frames :]
        return PlanPart(
            # contiguous, for their way to other stages; without those they stay where they are
            {"tokens": tokens.contiguous(), "heard": torch.from_numpy(heard.copy())},
            {"talking": spoken.talking},
        )

    def inputs(self, part: PlanPart, place: ChunkPlace) -> CallInputs:
        """The tokens."""
        del place
        weight = self._network.patch_embedding.weight
        tokens = uploaded(part.tensors["tokens"], weight.device, weight.dtype)
        return CallInputs(conditions=Conditions(speech=tokens))

    def shown(self, part: PlanPart) -> Mapping[str, Any]:
        """The sound that the frames show."""
        return {"audio": part.tensors["heard"].numpy(), "talking": part.plain["talking"]}

    def weights(self) -> Iterable[Tensor]:
        """The encoder's."""
        return self._listener.encoder.module.parameters()

    def rehearse(self, entry: Entry) -> Iterable[Tensor]:
        """A chunk with a full view."""
        encoder, view = self._listener.encoder, self._listener.view
        tokens = entry.conditions.speech
        assert tokens is not None, "its student has an avatar"
        chunk = tokens.shape[1] * self._pixel_frames * FEATURE_RATE // self._listener.fps
        encoder.convolve(torch.zeros((chunk + view.lookahead + 1) * HOP, device="meta"))
        weight = next(iter(self.weights()))
        seen = weight.new_zeros(view.context + chunk + view.lookahead, encoder.width)
        encoder.attend(seen, slice(view.context, None))
        return ()


def _encoder(parts: Parts) -> SpeechEncoder:
    """The encoder; on `meta` only its sizes."""
    file = None if parts.files is None else parts.files.more[ENCODER]
    if parts.device.type == "meta":
        empty = empty_speech_encoder(None if file is None else speech_config(file))
        empty.module.to(parts.dtype)
        return empty
    assert file is not None, "a model has files"
    return load_speech_encoder(file, device=parts.device, dtype=parts.dtype)


def _nothing() -> np.ndarray:
    return np.zeros(0, np.int16)
