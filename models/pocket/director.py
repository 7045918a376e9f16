"""What a pocket stream is told, applied to its state: prompts, scenes, pictures, seeds, fingers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..contract import PICTURE, Controls, StreamRequest
from ..state import StreamState
from .audio import SpeechView, check_samples
from .conditioning_state import PocketConditioning
from .idle import AvatarMotion
from .looks import Look, LookEncoder, OwnPicture
from .manifest import Manifest
from .motion import HeadDrag, SceneMotion
from .prompt import EXPRESSION, Vocabulary, weight_vector

# a change of expression takes at least this many chunks: faces do not jump
_LEAST_EASING = 2

PocketState = StreamState[PocketConditioning]


class Director:
    """The looks that there are, and what words choose among them."""

    def __init__(
        self,
        manifest: Manifest,
        vocabulary: Vocabulary,
        looks: Mapping[str, Look],
        look_encoder: LookEncoder,
    ) -> None:
        self._looks = looks
        self._look_encoder = look_encoder
        self._vocabulary = vocabulary
        self._tokens = {entry.name: frozenset(entry.tokens) for entry in manifest.looks}
        self._gain = manifest.drag_gain

    def begin(self, request: StreamRequest) -> PocketState:
        """A new stream without caches.

        Without a `scene` it shows its own picture, or without one the look whose attributes the
        prompt names. Raises ValueError for an unknown scene and for a bad picture.
        """
        prompt, picture = request.prompt or "", request.picture
        parsed = self._vocabulary.parse(prompt)
        chosen = self._vocabulary.choose(parsed.weights, self._tokens, next(iter(self._looks)))
        own = None if picture is None else self._look_encoder.bring(picture)
        name = request.scene or (chosen if own is None else PICTURE)
        words = self._words_of(name, parsed.weights)
        return StreamState(
            caches=[],
            conditioning=self._conditioning(self.known(name, own), request.seed, words, own),
            generator=torch.Generator().manual_seed(request.seed),
            seed=request.seed,
            scene=name,
            prompt=prompt,
        )

    def load(
        self, scene: str, tensors: Mapping[str, Tensor], plain: Mapping[str, Any]
    ) -> PocketConditioning:
        """The conditioning that a snapshot saved. Raises ValueError for a scene unknown here."""
        objects = self._looks[scene].entry.objects if scene in self._looks else ()
        loaded = PocketConditioning.load(tensors, plain, self._gain, objects, self._look_encoder)
        self.known(scene, loaded.picture)
        return loaded

    def known(self, scene: str, own: OwnPicture | None) -> Look:
        """What a scene shows. Raises ValueError for an unknown one, naming those that are known."""
        if scene == PICTURE and own is not None:
            return own.look
        if scene not in self._looks:
            raise ValueError(f"unknown scene {scene!r}; this model has {', '.join(self._looks)}")
        return self._looks[scene]

    def apply_controls(self, state: PocketState, controls: Controls) -> tuple[str, ...]:
        """Apply what changed; the words of a new prompt that mean nothing here.

        In the first chunk the prompt that the stream was started with is new. Raises ValueError for
        what cannot be obeyed, and then has changed nothing.
        """
        brought = state.conditioning.picture
        if controls.picture is not None:
            brought = self._look_encoder.bring(controls.picture)
        if controls.scene is not None:
            self.known(controls.scene, brought)
        check_samples(controls.audio)
        ignored: tuple[str, ...] = ()
        if controls.seed is not None or controls.reset:
            self._restart(state, state.seed if controls.seed is None else controls.seed)
        if controls.prompt is not None:
            ignored = self._set_prompt(state, controls.prompt, controls.transition_chunks)
        elif state.chunk_index == 0:
            ignored = self._vocabulary.parse(state.prompt).ignored_words
        scene = controls.scene
        if controls.picture is not None:
            state.conditioning.picture = brought
            scene = scene or PICTURE
        another = scene != state.scene or (scene == PICTURE and controls.picture is not None)
        if scene is not None and another:
            self._set_scene(state, scene)
        conditioning = state.conditioning
        if controls.clear_audio:
            conditioning.speech.clear_future()
        conditioning.speech.push(controls.audio)
        mover = conditioning.head if conditioning.objects is None else conditioning.objects
        if controls.clear_tracks is None or controls.clear_tracks:
            mover.release(controls.clear_tracks)
        for event in controls.tracks:
            mover.receive(event)
        return ignored

    def _conditioning(
        self, look: Look, seed: int, words: Tensor, picture: OwnPicture | None
    ) -> PocketConditioning:
        objects = look.entry.objects
        return PocketConditioning(
            speech=SpeechView(),
            avatar=AvatarMotion.seeded(seed),
            head=HeadDrag(self._gain),
            objects=SceneMotion.seeded(objects, seed) if objects else None,
            words=words,
            wanted_words=words,
            picture=picture,
        )

    def _words_of(self, look: str, asked: Mapping[str, float]) -> Tensor:
        """The words in force: what the look shows, and the expressions asked for."""
        weights = dict.fromkeys(self._tokens.get(look, ()), 1.0)
        weights |= {k: w for k, w in asked.items() if self._vocabulary.group(k) == EXPRESSION}
        return weight_vector(self._vocabulary, weights)

    def _restart(self, state: PocketState, seed: int) -> None:
        state.seed = seed
        state.generator.manual_seed(seed)
        old = state.conditioning
        look = self.known(state.scene, old.picture)
        state.conditioning = self._conditioning(look, seed, old.wanted_words, old.picture)
        state.restart = True

    def _set_prompt(self, state: PocketState, prompt: str, transition: int) -> tuple[str, ...]:
        parsed = self._vocabulary.parse(prompt)
        state.prompt = prompt
        chosen = self._vocabulary.choose(parsed.weights, self._tokens, state.scene)
        if chosen != state.scene:
            self._set_scene(state, chosen)
        state.conditioning.wanted_words = self._words_of(state.scene, parsed.weights)
        state.conditioning.easing = max(transition, _LEAST_EASING)
        return parsed.ignored_words

    def _set_scene(self, state: PocketState, scene: str) -> None:
        """Cut to another look; speech and expression go on."""
        old = state.conditioning
        look = self.known(scene, old.picture)
        state.scene = scene
        asked = self._vocabulary.parse(state.prompt).weights
        words = self._words_of(scene, asked)
        state.conditioning = self._conditioning(look, state.seed, words, old.picture)
        state.conditioning.speech, state.conditioning.avatar = old.speech, old.avatar
        state.restart = True
