"""The toy world as a stream: a prompt of two words in, four pictures of a sprite out.

Its future depends on nothing but its own past and noise, so what a stream forgets is seen: the
sprite's shape and hue. The scenes are the sinks that its cache can have; docs/distillation.md says
how the student was taught.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
import torch
from safetensors.torch import load_file
from torch import Tensor

from ..contract import Chunk, Controls, ModelInfo, ModelInputs, PromptInput, Scene, StreamRequest
from ..sampling.denoising import denoise_chunk
from ..state import SavedState, StreamState
from ..student.student_cache import StudentCache
from .config import (
    BACKGROUND,
    CHANNELS,
    FRAMES,
    MOODS,
    NO_MOOD,
    NO_PALETTE,
    PALETTES,
    SCHEDULE,
    SINKS,
    SIZE,
    STEPS,
)
from .network import PromptedStudent
from .weights import unpacked

NAME = "toy-world"
WEIGHTS = Path(__file__).parent / "assets" / "toy-world.safetensors"
SCALE = 16
"""Pixels that a pixel of the world is shown as, each way."""
FPS = 12
_TITLES = {
    "static": "Sink: the first chunk",
    "none": "No sink",
    "ema .9": "Sink: average of the past, alpha 0.9",
    "ema .99": "Sink: average of the past, alpha 0.99",
}
_PROMPTS = ("calm warm", "brisk cold", "dizzy warm")


@dataclass(slots=True)
class ToyPrompt:
    """The words in force; `ignored` are those of a new prompt that mean nothing here."""

    mood: int = NO_MOOD
    palette: int = NO_PALETTE
    ignored: tuple[str, ...] = field(default=())

    @classmethod
    def of(cls, text: str) -> ToyPrompt:
        """What a prompt says; of two moods or palettes the last one counts."""
        prompt, ignored = cls(), []
        for word in text.lower().replace(",", " ").split():
            if word in MOODS:
                prompt.mood = MOODS.index(word)
            elif word in PALETTES:
                prompt.palette = PALETTES.index(word)
            else:
                ignored.append(word)
        prompt.ignored = tuple(ignored)
        return prompt

    def tensors(self) -> Mapping[str, Tensor]:
        """None."""
        return {}

    def metadata(self) -> dict[str, Any]:
        """All of it."""
        return {"mood": self.mood, "palette": self.palette, "ignored": list(self.ignored)}


ToyState = StreamState[ToyPrompt]


class ToyWorldModel:
    """Weights; every stream's state is a `StreamState` with one cache, of the scene's sink."""

    def __init__(self, weights: Path = WEIGHTS) -> None:
        self._network = PromptedStudent()
        self._network.load_state_dict(unpacked(load_file(weights)))
        self._network.eval().requires_grad_(False)
        self.info = ModelInfo(
            name=NAME,
            title="Toy world",
            width=SIZE * SCALE,
            height=SIZE * SCALE,
            fps=FPS,
            chunk_frames=FRAMES,
            inputs=ModelInputs(
                scenes=tuple(
                    Scene(name, _TITLES[name], "scene", self._thumbnail(name)) for name in SINKS
                ),
                prompt=PromptInput(_PROMPTS),
            ),
        )

    def start(self, request: StreamRequest) -> ToyState:
        """A new stream. Raises ValueError for an unknown scene, naming the known ones."""
        scene = _known(request.scene or next(iter(SINKS)))
        text = _PROMPTS[0] if request.prompt is None else request.prompt
        return StreamState(
            caches=[self._new_cache(scene)],
            conditioning=ToyPrompt.of(text),
            generator=torch.Generator().manual_seed(request.seed),
            seed=request.seed,
            scene=scene,
            prompt=text,
        )

    @torch.inference_mode()
    def step(self, state: ToyState, controls: Controls) -> Chunk:
        """Advance by one chunk. Raises ValueError for an unknown scene."""
        self._obey(state, controls)
        if state.restart:
            state.caches = [self._new_cache(state.scene)]
        prompt = state.conditioning
        words = [torch.tensor([word]) for word in (prompt.mood, prompt.palette)]
        context = self._network.told(*words)

        shape = (1, 1, CHANNELS, SIZE, SIZE)
        made = denoise_chunk(
            self._network.student,
            state.caches[0],
            torch.randn(shape, generator=state.generator),
            STEPS,
            context,
            schedule=SCHEDULE,
            renoise=lambda x: torch.randn(x.shape, generator=state.generator),
        )
        chunk = Chunk(
            state.chunk_index,
            pictures_of(made),
            np.zeros(0, np.int16),
            scene=state.scene,
            ignored_words=prompt.ignored,
        )
        prompt.ignored = ()
        state.chunk_index += 1
        state.restart = False
        return chunk

    def snapshot(self, state: ToyState) -> bytes:
        """The whole state as bytes."""
        return state.to_bytes(NAME)

    def restore(self, data: bytes) -> ToyState:
        """The state of a snapshot. Raises ValueError if it is none of this model."""
        saved = SavedState.parse(data, NAME)
        scene, about = saved.plain["scene"], saved.plain["conditioning"]
        cache = self._new_cache(scene)
        cache.load(saved.part("cache.0"), saved.plain["caches"][0])
        return StreamState(
            caches=[cache],
            conditioning=ToyPrompt(about["mood"], about["palette"], tuple(about["ignored"])),
            generator=saved.generator(),
            seed=saved.plain["seed"],
            scene=scene,
            prompt=saved.plain["prompt"],
            chunk_index=saved.plain["chunk_index"],
            restart=saved.plain["restart"],
        )

    def _obey(self, state: ToyState, controls: Controls) -> None:
        if controls.scene is not None and _known(controls.scene) != state.scene:
            # keys of one sink are nothing that another one could go on with
            state.scene, state.restart = controls.scene, True
        if controls.seed is not None:
            state.seed = controls.seed
        if controls.reset:
            state.restart = True
        if controls.reset or controls.seed is not None:
            state.generator.manual_seed(state.seed)
        if controls.prompt is not None:
            state.prompt, state.conditioning = controls.prompt, ToyPrompt.of(controls.prompt)

    def _thumbnail(self, scene: str) -> bytes:
        """The end of a stream's first chunk; each scene has a sprite of its own."""
        request = StreamRequest(seed=1 + list(SINKS).index(scene), scene=scene)
        frames = self.step(self.start(request), Controls()).frames
        return simplejpeg.encode_jpeg(np.ascontiguousarray(frames[-1]), quality=80)

    def _new_cache(self, scene: str) -> StudentCache:
        return self._network.student.new_cache(SINKS[scene], height=SIZE, width=SIZE)


def pictures_of(latents: Tensor) -> np.ndarray:
    """Pictures uint8 RGB [4, 192, 192, 3] of a chunk's latents [1, 1, 12, 12, 12]."""
    colours = ((latents[0, 0] + BACKGROUND).clamp(-1, 1) + 1) * 127.5
    pictures = colours.unflatten(0, (FRAMES, 3)).permute(0, 2, 3, 1).round().to(torch.uint8)
    return pictures.numpy().repeat(SCALE, axis=1).repeat(SCALE, axis=2)


def _known(scene: str) -> str:
    if scene not in SINKS:
        raise ValueError(f"unknown scene {scene!r}: choose one of {', '.join(SINKS)}")
    return scene
