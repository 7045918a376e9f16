"""The pocket model as a stream: controls in, four frames out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from ..chunk_steps import ChunkSteps
from ..contract import PICTURE, Chunk, Controls, StreamRequest
from ..recent import Recent
from ..sampling.batches import StepInput, denoise_rows
from ..sampling.denoising import FlowSchedule
from ..staged_model import ChunkPlan, Row, draw_seed, run_chunk, step_noise
from ..state import DecoderState, SavedState, StreamState
from ..student.causal_student import CausalStudent
from ..student.conditioning import Conditions, TextContext
from ..student.config import CacheConfig
from ..student.kv_cache import StudentCache
from .audio import CHUNK_FRAMES, SpeechView, VisemeNet
from .autoencoder import LATENT_SIZE
from .conditioning_state import PocketConditioning
from .conditions import (
    EXPRESSIONS,
    FRAME_DIM,
    FRAME_FEATURES,
    GROUP,
    PACKED_CHANNELS,
    PACKED_TRACK_CHANNELS,
    VISEMES,
    frame_conditions,
    frame_features,
    grouped,
    moved_base,
    pack_tracks,
    unpack_latents,
)
from .config import (
    CACHE,
    SHIFT,
    STEPS,
    STUDENT,
)
from .idle import NOD, AvatarMotion
from .looks import (
    NAME,
    Look,
    LookEncoder,
    LookPictures,
    OwnPicture,
    describe,
    tensor_bytes,
)
from .manifest import LookEntry, Manifest
from .motion import (
    HeadDrag,
    SceneMotion,
    camera_way,
    motion_draft,
    object_tracks,
)
from .prompt import EXPRESSION, TokenEmbedding, weight_vector
from .speech_gate import SPEAKING, speech_gate, speech_levels
from .weights import filled

ASSETS = Path(__file__).parent / "assets"
_LOUD = 0.2
# a change of expression takes at least this many chunks: faces do not jump
_LEAST_EASING = 2
# The student was told levels of at most 1. It shows them fainter than its training did; told more,
# faces still do not bend.
_EXPRESSION_STRENGTH = 1.5
_NODS = torch.tensor([NOD.get(name, 0.0) for name in EXPRESSIONS])
_KEPT = 8
_LATENT_SHAPE = (1, 1, PACKED_CHANNELS, LATENT_SIZE, LATENT_SIZE)

PocketState = StreamState[PocketConditioning]


class PocketModel:
    """Weights and looks; every stream's state is a `StreamState`.

    `cache` and `steps` (timesteps of the denoising steps) are what the weights were trained with;
    others are for comparisons.
    """

    def __init__(
        self,
        folder: Path | str = ASSETS,
        *,
        cache: CacheConfig = CACHE,
        steps: Sequence[float] = STEPS,
    ) -> None:
        self._cache, self._steps = cache, tuple(steps)
        folder = Path(folder)
        manifest = Manifest.read(folder / "manifest.json")
        weights = {k: t.float() for k, t in load_file(folder / "pocket.safetensors").items()}
        words = TokenEmbedding(len(manifest.tokens), STUDENT.text_len, STUDENT.text_dim)
        self._student = filled(CausalStudent(STUDENT), weights, "student")
        self._words = filled(words, weights, "words")
        self._visemes = filled(VisemeNet(), weights, "visemes")
        self._look_encoder = LookEncoder.of(weights)
        self._vocabulary = manifest.vocabulary()
        self._expressions = [self._vocabulary.index[name] for name in EXPRESSIONS]
        self._gain = manifest.drag_gain
        self._schedule = FlowSchedule(SHIFT)
        # pure functions of few values: streams that show and ask the same share them
        self._contexts: Recent[bytes, TextContext] = Recent(_KEPT)
        self._sinks: Recent[tuple[str, bytes], StudentCache] = Recent(_KEPT)
        pictures = {e.name: LookPictures.read(folder, e) for e in manifest.looks}
        with torch.inference_mode():
            self._looks = {
                e.name: self._look_encoder.look(e, pictures[e.name]) for e in manifest.looks
            }
        self._tokens = {e.name: frozenset(e.tokens) for e in manifest.looks}
        self.info = describe(manifest, pictures)

    @torch.inference_mode()
    def start(self, request: StreamRequest) -> PocketState:
        """A new stream.

        Without a `scene` it shows its own picture, or without one the look whose attributes the
        prompt names. Raises ValueError for an unknown scene and for a bad picture.
        """
        prompt, picture = request.prompt or "", request.picture
        parsed = self._vocabulary.parse(prompt)
        chosen = self._vocabulary.choose(parsed.weights, self._tokens, self._first)
        own = None if picture is None else self._look_encoder.bring(picture)
        name = request.scene or (chosen if own is None else PICTURE)
        words = self._words_of(name, parsed.weights)
        return StreamState(
            caches=[self.new_cache() for _ in self._steps],
            conditioning=self._conditioning(self._known(name, own), request.seed, words, own),
            generator=torch.Generator().manual_seed(request.seed),
            seed=request.seed,
            scene=name,
            prompt=prompt,
        )

    def step(self, state: PocketState, controls: Controls) -> Chunk:
        """Advance by one chunk of four frames."""
        return run_chunk(self, state, controls)

    @property
    def chunk_steps(self) -> ChunkSteps:
        """A cache for each denoising step, no clean pass."""
        return ChunkSteps.cache_per_step(self._steps)

    @property
    def decoder_is_causal(self) -> bool:
        """Each frame is decoded by itself."""
        return False

    def new_cache(self) -> StudentCache:
        """An empty cache of one denoising step."""
        return self._student.new_cache(self._cache, height=LATENT_SIZE, width=LATENT_SIZE)

    @torch.inference_mode()
    def prepare(self, state: PocketState, controls: Controls) -> ChunkPlan:
        """Obey, and say what the next chunk's steps and decoder need to know."""
        ignored = self._apply_controls(state, controls)
        conditioning, look = (
            state.conditioning,
            self._known(state.scene, state.conditioning.picture),
        )
        before = self._expression_levels(conditioning.words)
        conditioning.ease_words()
        talking, features = self._next_faces(conditioning, before)
        centres = self._next_centres(conditioning)
        previous = features[:, 0] if conditioning.previous is None else conditioning.previous
        frames, speech = frame_conditions(grouped(features, previous))
        conditioning.previous = features[:, -1].clone()
        own = (
            conditioning.picture.tensors()
            if conditioning.picture and state.scene == PICTURE
            else {}
        )
        plan = ChunkPlan(
            index=state.chunk_index,
            noise_seed=draw_seed(state.generator),
            restart=state.restart,
            plain={"scene": state.scene, "talking": talking, "ignored_words": ignored},
            tensors={
                "words": conditioning.words,
                "frames": frames,
                "speech": speech,
                "tracks": self._tracks(centres, look),
                "base": self._base(centres, look),
                "heard": torch.from_numpy(conditioning.speech.current),
                **own,
            },
        )
        state.chunk_index += 1
        state.restart = False
        return plan

    @torch.inference_mode()
    def denoise(self, rows: Sequence[Row]) -> list[Tensor]:
        """Take each row's latents through its step."""
        return denoise_rows(self._student, [self._step_input(row) for row in rows], self._schedule)

    @torch.inference_mode()
    def decode(self, plan: ChunkPlan, latents: Tensor, state: DecoderState) -> Chunk:
        """The frames of a chunk's latents, with the speech that they show."""
        scene: str = plan.plain["scene"]
        if scene == PICTURE:
            look = self._look_encoder.own_once(tensor_bytes(plan.tensors["picture"]), state).look
        else:
            look = self._looks[scene]
        pictures = self._look_encoder.frames(unpack_latents(latents)[0], look)
        heard = plan.tensors["heard"].numpy()
        ignored = tuple(plan.plain["ignored_words"])
        return Chunk(plan.index, pictures, heard, plan.plain["talking"], scene, ignored)

    def snapshot(self, state: PocketState) -> bytes:
        """The whole state as bytes."""
        return state.to_bytes(NAME)

    @torch.inference_mode()
    def restore(self, data: bytes) -> PocketState:
        """The state of a snapshot. Raises ValueError if it is none of this model."""
        saved = SavedState.parse(data, NAME)
        scene = saved.plain["scene"]
        objects = self._looks[scene].entry.objects if scene in self._looks else ()
        conditioning = PocketConditioning.load(
            saved.part("conditioning"),
            saved.plain["conditioning"],
            self._gain,
            objects,
            self._look_encoder,
        )
        self._known(scene, conditioning.picture)
        caches = [self.new_cache() for _ in self._steps]
        for k, metadata in enumerate(saved.plain["caches"]):
            caches[k].load(saved.part(f"cache.{k}"), metadata)
        return StreamState(
            caches=caches,
            conditioning=conditioning,
            generator=saved.generator(),
            seed=saved.plain["seed"],
            scene=scene,
            prompt=saved.plain["prompt"],
            chunk_index=saved.plain["chunk_index"],
            restart=saved.plain["restart"],
            decoder=saved.decoder(),
        )

    @property
    def looks(self) -> tuple[LookEntry, ...]:
        """What this model can show."""
        return tuple(look.entry for look in self._looks.values())

    @property
    def _first(self) -> str:
        return next(iter(self._looks))

    def _known(self, scene: str, own: OwnPicture | None) -> Look:
        if scene == PICTURE and own is not None:
            return own.look
        if scene not in self._looks:
            raise ValueError(f"unknown scene {scene!r}; this model has {', '.join(self._looks)}")
        return self._looks[scene]

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

    def _step_input(self, row: Row) -> StepInput:
        told = row.plan.tensors
        scene: str = row.plan.plain["scene"]
        channels = told["channels"] if scene == PICTURE else self._looks[scene].channels
        if row.plan.restart:
            sink = self._sink(row.plan, channels)
            row.cache.load(sink.tensors(), sink.metadata())
        return StepInput(
            timestep=self._steps[row.call],
            noise=step_noise(row.plan, row.call, _LATENT_SHAPE),
            sample=row.latents,
            context=self._context(told["words"]),
            conditions=Conditions(
                told["frames"],
                told["speech"],
                told["tracks"],
                channels,
                told["base"],
            ),
            cache=row.cache,
        )

    def _context(self, words: Tensor) -> TextContext:
        return self._contexts.get(
            words.numpy().tobytes(), lambda: self._student.encode_text(self._words(words))
        )

    def _sink(self, plan: ChunkPlan, channels: Tensor) -> StudentCache:
        """A cache with nothing but the look's picture as its sink."""
        scene, words = plan.plain["scene"], plan.tensors["words"]
        if scene == PICTURE:
            # somebody's own: nobody else can use it, and it must not be kept here
            return self._see_reference(plan.tensors["base"], channels, words)
        base = self._looks[scene].base
        key = scene, words.numpy().tobytes()
        return self._sinks.get(key, lambda: self._see_reference(base, channels, words))

    def _see_reference(self, base: Tensor, channels: Tensor, words: Tensor) -> StudentCache:
        cache = self.new_cache()
        conditions = Conditions(
            frames=torch.zeros(1, 1, FRAME_DIM),
            audio=torch.zeros(1, 1, GROUP, VISEMES),
            tracks=torch.zeros(1, CHUNK_FRAMES, PACKED_TRACK_CHANNELS, LATENT_SIZE, LATENT_SIZE),
            channels=channels,
            base=base,
        )
        self._student(base, torch.zeros(1, 1), self._context(words), cache, conditions)
        cache.advance(1)
        return cache

    def _apply_controls(self, state: PocketState, controls: Controls) -> tuple[str, ...]:
        """Apply what changed; the words of a new prompt that mean nothing here."""
        ignored: tuple[str, ...] = ()
        if controls.seed is not None or controls.reset:
            self._restart(state, state.seed if controls.seed is None else controls.seed)
        if controls.prompt is not None:
            ignored = self._set_prompt(state, controls.prompt, controls.transition_chunks)
        scene = controls.scene
        if controls.picture is not None:
            state.conditioning.picture = self._look_encoder.bring(controls.picture)
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

    def _restart(self, state: PocketState, seed: int) -> None:
        state.seed = seed
        state.generator.manual_seed(seed)
        old = state.conditioning
        look = self._known(state.scene, old.picture)
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
        look = self._known(scene, old.picture)
        state.scene = scene
        asked = self._vocabulary.parse(state.prompt).weights
        words = self._words_of(scene, asked)
        state.conditioning = self._conditioning(look, state.seed, words, old.picture)
        state.conditioning.speech, state.conditioning.avatar = old.speech, old.avatar
        state.restart = True

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

    def _next_centres(self, conditioning: PocketConditioning) -> np.ndarray:
        """Where a scene's objects are in each frame of a chunk, px [4, K, 2]."""
        if conditioning.objects is None:
            return np.zeros((CHUNK_FRAMES, 0, 2))
        return np.stack([conditioning.objects.step() for _ in range(CHUNK_FRAMES)])

    def _tracks(self, centres: np.ndarray, look: Look) -> Tensor:
        return pack_tracks(object_tracks(centres, look.entry.objects, look.entry.scale))[None]

    def _base(self, centres: np.ndarray, look: Look) -> Tensor:
        """The look's picture, its objects moved to where they are now."""
        objects = look.entry.objects
        if not objects:
            return look.base
        flow, pan = motion_draft(centres, objects), camera_way(centres, objects)
        return moved_base(look.base, flow[None], pan[None], look.scale, self._look_encoder.spread)
