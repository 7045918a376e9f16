"""The pocket model as a stream: controls in, four frames out."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from ..conditioning import Conditions, TextContext
from ..denoise import FlowSchedule, denoise_chunk
from ..state import SavedState, StreamState
from ..stream import Chunk, Controls, ModelInfo, Scene
from ..student import CausalStudent
from .audio import (
    CHUNK_FRAMES,
    FRAME_SAMPLES,
    LOOKAHEAD_MS,
    SAMPLE_RATE,
    SpeechView,
    VisemeNet,
)
from .autoencoder import (
    FRAME_SIZE,
    LATENT_SIZE,
    ReferenceFeatures,
    WarpDecoder,
)
from .carry import PocketCarry
from .conditions import (
    FRAME_DIM,
    FRAME_FEATURES,
    GROUP,
    PACKED_CHANNELS,
    PACKED_TRACK_CHANNELS,
    VISEMES,
    frame_conditions,
    frame_features,
    grouped,
    pack_tracks,
    reference_base,
    reference_channels,
    unpack_latents,
)
from .config import CACHE, SHIFT, STEPS, STUDENT
from .idle import AvatarMotion
from .manifest import LookEntry, Manifest
from .motion import HeadDrag, SceneMotion, track_map
from .prompt import EXPRESSION, TokenEmbedding, weight_vector

NAME = "pocket"
FPS = 25
ASSETS = Path(__file__).parent / "assets"
# speech level (share of full scale) from where on a frame counts as speech, and is fully so
_QUIET, _SPEAKING = 0.0025, 0.008
_LOUD = 0.2
_THUMBNAIL_QUALITY = 85
# a change of expression takes at least this many chunks: faces do not jump
_LEAST_EASING = 2

PocketState = StreamState[PocketCarry]


@dataclass(frozen=True, slots=True)
class Look:
    """A manifest entry with what the networks see of its picture."""

    entry: LookEntry
    features: ReferenceFeatures
    scale: Tensor
    base: Tensor
    channels: Tensor


class PocketModel:
    """Weights and looks; every stream's state is a `StreamState`."""

    def __init__(self, folder: Path = ASSETS) -> None:
        manifest = Manifest.read(folder / "manifest.json")
        weights = {k: t.float() for k, t in load_file(folder / "pocket.safetensors").items()}
        self._student = CausalStudent(STUDENT)
        self._words = TokenEmbedding(len(manifest.tokens), STUDENT.text_len, STUDENT.text_dim)
        self._decoder = WarpDecoder()
        self._visemes = VisemeNet()
        parts = {
            "student": self._student,
            "words": self._words,
            "decoder": self._decoder,
            "visemes": self._visemes,
        }
        for name, module in parts.items():
            prefix = f"{name}."
            own = {k.removeprefix(prefix): t for k, t in weights.items() if k.startswith(prefix)}
            module.load_state_dict(own)
            module.eval().requires_grad_(False)
        self._decoder.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self._mean, self._spread = weights["latent.mean"], weights["latent.spread"]
        self._vocabulary = manifest.vocabulary()
        self._gain = manifest.drag_gain
        self._schedule = FlowSchedule(SHIFT)
        pictures = {e.name: _open(folder / e.reference) for e in manifest.looks}
        plates = {e.name: _open(folder / e.plate) for e in manifest.looks}
        still = weights["latent.references"]
        with torch.inference_mode():
            self._looks = {
                entry.name: self._look(entry, pictures[entry.name], plates[entry.name], still[k])
                for k, entry in enumerate(manifest.looks)
            }
        self._tokens = {e.name: frozenset(e.tokens) for e in manifest.looks}
        self.info = _info(manifest, pictures)

    def _look(
        self, entry: LookEntry, picture: Image.Image, plate: Image.Image, raw_latent: Tensor
    ) -> Look:
        features = self._decoder.encode_reference(_signed(picture), _signed(plate))
        latent = ((raw_latent - self._mean) / self._spread)[None]
        scale = torch.tensor([entry.scale])
        channels = reference_channels(features, latent)
        return Look(entry, features, scale, reference_base(latent), channels)

    @torch.inference_mode()
    def start(
        self, *, seed: int, scene: str | None = None, prompt: str | None = None
    ) -> PocketState:
        """A new stream. A prompt that names attributes chooses the look, unless `scene` does.

        Raises ValueError for an unknown scene.
        """
        parsed = self._vocabulary.parse(prompt or "")
        name = scene or self._vocabulary.choose(parsed.weights, self._tokens, self._first)
        look = self._known(name)
        words = self._words_of(name, parsed.weights)
        caches = [
            self._student.new_cache(CACHE, height=LATENT_SIZE, width=LATENT_SIZE) for _ in STEPS
        ]
        state = StreamState(
            caches=caches,
            context=self._context(words),
            carry=self._carry(look, seed, words),
            generator=torch.Generator().manual_seed(seed),
            seed=seed,
            scene=name,
            prompt=prompt or "",
        )
        self._show_reference(state)
        return state

    @torch.inference_mode()
    def step(self, state: PocketState, controls: Controls) -> Chunk:
        """Advance by one chunk of four frames."""
        ignored = self._obey(state, controls)
        carry, look = state.carry, self._looks[state.scene]
        self._ease_words(state)
        talking, features, drawn = self._next_frames(carry, look)
        previous = features[:, 0] if carry.previous is None else carry.previous
        frames, speech = frame_conditions(grouped(features, previous))
        carry.previous = features[:, -1].clone()
        conditions = Conditions(frames, speech, drawn, look.channels, look.base)
        shape = (1, 1, PACKED_CHANNELS, LATENT_SIZE, LATENT_SIZE)
        latents = denoise_chunk(
            self._student,
            state.caches,
            torch.randn(shape, generator=state.generator),
            STEPS,
            state.context,
            conditions,
            schedule=self._schedule,
            renoise=lambda x: torch.randn(x.shape, generator=state.generator),
        )
        pictures = self._decode(latents, look)
        chunk = Chunk(
            state.chunk_index, pictures, carry.speech.current, talking, state.scene, ignored
        )
        state.chunk_index += 1
        return chunk

    def snapshot(self, state: PocketState) -> bytes:
        """The whole state as bytes."""
        return state.to_bytes(NAME)

    @torch.inference_mode()
    def restore(self, data: bytes) -> PocketState:
        """The state of a snapshot. Raises ValueError if it is none of this model."""
        saved = SavedState.parse(data, NAME)
        look = self._known(saved.plain["scene"])
        carry = PocketCarry.load(
            saved.part("carry"), saved.plain["carry"], self._gain, look.entry.objects
        )
        caches = [
            self._student.new_cache(CACHE, height=LATENT_SIZE, width=LATENT_SIZE) for _ in STEPS
        ]
        for k, cache in enumerate(caches):
            cache.load(saved.part(f"cache.{k}"), saved.plain["caches"][k])
        return StreamState(
            caches=caches,
            context=self._context(carry.words),
            carry=carry,
            generator=saved.generator(),
            seed=saved.plain["seed"],
            scene=saved.plain["scene"],
            prompt=saved.plain["prompt"],
            chunk_index=saved.plain["chunk_index"],
        )

    @property
    def looks(self) -> tuple[LookEntry, ...]:
        """What this model can show."""
        return tuple(look.entry for look in self._looks.values())

    @property
    def _first(self) -> str:
        return next(iter(self._looks))

    def _known(self, scene: str) -> Look:
        if scene not in self._looks:
            raise ValueError(f"unknown scene {scene!r}; this model has {', '.join(self._looks)}")
        return self._looks[scene]

    def _carry(self, look: Look, seed: int, words: Tensor) -> PocketCarry:
        objects = look.entry.objects
        return PocketCarry(
            speech=SpeechView(),
            avatar=AvatarMotion.seeded(seed),
            head=HeadDrag(self._gain),
            objects=SceneMotion.seeded(objects, seed) if objects else None,
            words=words,
            wanted_words=words,
        )

    def _words_of(self, look: str, asked: Mapping[str, float]) -> Tensor:
        """The words in force: what the look shows, and the expressions asked for."""
        weights = dict.fromkeys(self._tokens[look], 1.0)
        weights |= {k: w for k, w in asked.items() if self._vocabulary.group(k) == EXPRESSION}
        return weight_vector(self._vocabulary, weights)

    def _context(self, words: Tensor) -> TextContext:
        return self._student.encode_text(self._words(words))

    def _show_reference(self, state: PocketState) -> None:
        """Start the caches anew with the look's picture as their sink."""
        look = self._looks[state.scene]
        conditions = Conditions(
            frames=torch.zeros(1, 1, FRAME_DIM),
            audio=torch.zeros(1, 1, GROUP, VISEMES),
            tracks=torch.zeros(1, CHUNK_FRAMES, PACKED_TRACK_CHANNELS, LATENT_SIZE, LATENT_SIZE),
            channels=look.channels,
            base=look.base,
        )
        first, *others = state.caches
        first.reset()
        self._student(look.base, torch.zeros(1, 1), state.context, first, conditions)
        first.advance(1)
        for cache in others:
            cache.load(first.tensors(), first.metadata())
        state.carry.previous = None

    def _obey(self, state: PocketState, controls: Controls) -> tuple[str, ...]:
        """Apply what changed; the words of a new prompt that mean nothing here."""
        ignored: tuple[str, ...] = ()
        if controls.seed is not None or controls.reset:
            self._restart(state, state.seed if controls.seed is None else controls.seed)
        if controls.prompt is not None:
            ignored = self._set_prompt(state, controls.prompt, controls.transition_chunks)
        if controls.scene is not None and controls.scene != state.scene:
            self._set_scene(state, controls.scene)
        carry = state.carry
        if controls.clear_audio:
            carry.speech.clear_future()
        carry.speech.push(controls.audio)
        mover = carry.head if carry.objects is None else carry.objects
        if controls.clear_tracks is None or controls.clear_tracks:
            mover.release(controls.clear_tracks)
        for event in controls.tracks:
            mover.receive(event)
        return ignored

    def _restart(self, state: PocketState, seed: int) -> None:
        state.seed = seed
        state.generator.manual_seed(seed)
        state.carry = self._carry(self._looks[state.scene], seed, state.carry.wanted_words)
        state.context = self._context(state.carry.words)
        self._show_reference(state)

    def _set_prompt(self, state: PocketState, prompt: str, transition: int) -> tuple[str, ...]:
        parsed = self._vocabulary.parse(prompt)
        state.prompt = prompt
        chosen = self._vocabulary.choose(parsed.weights, self._tokens, state.scene)
        if chosen != state.scene:
            self._set_scene(state, chosen)
        state.carry.wanted_words = self._words_of(state.scene, parsed.weights)
        state.carry.easing = max(transition, _LEAST_EASING)
        return parsed.ignored_words

    def _set_scene(self, state: PocketState, scene: str) -> None:
        """Cut to another look; speech and expression go on."""
        look = self._known(scene)
        state.scene = scene
        asked = self._vocabulary.parse(state.prompt).weights
        words = self._words_of(scene, asked)
        old = state.carry
        state.carry = self._carry(look, state.seed, words)
        state.carry.speech, state.carry.avatar = old.speech, old.avatar
        state.context = self._context(words)
        self._show_reference(state)

    def _ease_words(self, state: PocketState) -> None:
        carry = state.carry
        if carry.easing:
            carry.words = carry.words + (carry.wanted_words - carry.words) / carry.easing
            carry.easing -= 1
            state.context = self._context(carry.words)

    def _next_frames(self, carry: PocketCarry, look: Look) -> tuple[bool, Tensor, Tensor]:
        """Whether someone talks, frame features [1, 4, 24] and packed track maps of a chunk."""
        levels = _levels(carry.speech)
        talking = bool((levels[CHUNK_FRAMES : 2 * CHUNK_FRAMES] > _SPEAKING).any())
        if carry.objects is None:
            visemes = carry.speech.visemes(self._visemes).clamp(0, 1) * _speech_gate(levels)
            loud = np.clip(levels[CHUNK_FRAMES : 2 * CHUNK_FRAMES] / _LOUD, 0, 1)
            dragged = carry.head.target()
            motion = np.stack([carry.avatar.step(float(x), dragged) for x in loud])
            features = frame_features(visemes, torch.from_numpy(motion).float())[None]
            current, home = np.zeros((CHUNK_FRAMES, 0, 2)), np.zeros((0, 2))
        else:
            features = torch.zeros(1, CHUNK_FRAMES, FRAME_FEATURES)
            current = np.stack([carry.objects.step() for _ in range(CHUNK_FRAMES)])
            home = np.array([thing.home for thing in carry.objects.objects])
        return talking, features, pack_tracks(track_map(current, home, look.entry.scale))[None]

    def _decode(self, latents: Tensor, look: Look) -> np.ndarray:
        """uint8 RGB frames [4, H, W, 3] of one packed latent frame."""
        frame_latents = unpack_latents(latents)[0] * self._spread + self._mean
        reference = look.features.expand(CHUNK_FRAMES)
        scale = look.scale.expand(CHUNK_FRAMES)
        frames = self._decoder(frame_latents, reference, scale).frames
        pixels = frames.add(1).mul(127.5).round_().clamp_(0, 255).to(torch.uint8)
        return pixels.permute(0, 2, 3, 1).contiguous().numpy()


def _levels(speech: SpeechView) -> np.ndarray:
    """RMS level of the frames of the chunk before, the current chunk and the one ahead [12]."""
    recent = speech.samples[-3 * CHUNK_FRAMES * FRAME_SAMPLES :].astype(np.float32) / 32768
    return np.sqrt(np.square(recent).reshape(3 * CHUNK_FRAMES, FRAME_SAMPLES).mean(1))


def _speech_gate(levels: np.ndarray) -> Tensor:
    """0..1 for each current frame [4, 1]: a mouth does not move in silence."""
    around = np.stack([levels[CHUNK_FRAMES + k : 2 * CHUNK_FRAMES + k] for k in (-2, -1, 0, 1, 2)])
    gate = np.clip((around.max(0) - _QUIET) / (_SPEAKING - _QUIET), 0, 1)
    return torch.from_numpy(gate.astype(np.float32))[:, None]


def _info(manifest: Manifest, pictures: dict[str, Image.Image]) -> ModelInfo:
    scenes = tuple(
        Scene(e.name, e.title, e.kind, _thumbnail(pictures[e.name])) for e in manifest.looks
    )
    return ModelInfo(
        name=NAME,
        title=manifest.title,
        width=FRAME_SIZE,
        height=FRAME_SIZE,
        fps=FPS,
        chunk_frames=CHUNK_FRAMES,
        sample_rate=SAMPLE_RATE,
        lookahead_ms=LOOKAHEAD_MS,
        scenes=scenes,
        prompts=manifest.presets,
        controls=frozenset({"prompt", "audio", "tracks", "scene", "seed"}),
    )


def _open(path: Path) -> Image.Image:
    return Image.open(path).convert("RGB")


def _signed(picture: Image.Image) -> Tensor:
    """A picture as -1..1 [1, 3, H, W]."""
    pixels = np.asarray(picture, np.float32) / 127.5 - 1
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]


def _thumbnail(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_THUMBNAIL_QUALITY)
    return buffer.getvalue()
