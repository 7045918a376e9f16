"""The toy world as a stream: a prompt of two words in, four pictures of a sprite out.

Its future depends on nothing but its own past and noise, so what a stream forgets is seen: the
sprite's shape and hue. The scenes are the sinks that its cache can have; docs/distillation.md says
how the student was taught.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import simplejpeg
import torch
from safetensors.torch import load_file
from torch import Tensor

from ..batch_shape import places_do_not_matter
from ..caches_on_demand import CachesOnDemand
from ..contract import Chunk, Controls, ModelInfo, ModelInputs, PromptInput, Scene, StreamRequest
from ..staged_model import ChunkPlan, Row, draw_seed, run_chunk
from ..state import DecoderState, SavedState, StreamState
from ..student.student_cache import StudentCache
from .config import BACKGROUND, FRAMES, SINKS, SIZE
from .denoiser import CHUNK_STEPS, ToyDenoiser
from .network import PromptedStudent
from .prompt import ToyPrompt
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


ToyState = StreamState[ToyPrompt]


class ToyWorldModel:
    """Weights; every stream's state is a `StreamState` with one cache, of the scene's sink.

    What a stream shows lives in that cache alone, so that nothing smaller than the whole state
    would do for a snapshot.
    """

    is_soon_warm = True
    """Nothing is compiled, whatever a chunk is told."""

    def __init__(self, weights: Path = WEIGHTS) -> None:
        network = PromptedStudent()
        network.load_state_dict(unpacked(load_file(weights)))
        network.eval().requires_grad_(False)
        self._denoiser = ToyDenoiser(network)
        self.chunk_steps = CHUNK_STEPS
        self.decoder_is_causal = False
        self.batches = places_do_not_matter(network.student.config)
        """Whether chunks of several streams may be one batch, see `batch_shape`."""
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
            caches=self._new_caches(),
            conditioning=ToyPrompt.of(text),
            generator=torch.Generator().manual_seed(request.seed),
            seed=request.seed,
            scene=scene,
            prompt=text,
        )

    def step(self, state: ToyState, controls: Controls) -> Chunk:
        """Advance by one chunk. Raises ValueError for an unknown scene."""
        return run_chunk(self, state, controls)

    def new_cache(self) -> StudentCache:
        """An empty cache, of whatever sink the chunk says that a stream begins with."""
        return self._denoiser.new_cache()

    @torch.inference_mode()
    def prepare(self, state: ToyState, controls: Controls) -> ChunkPlan:
        """Apply the controls. Raises ValueError for an unknown scene, and then changed nothing."""
        self._obey(state, controls)
        plan = ChunkPlan(
            index=state.chunk_index,
            noise_seed=draw_seed(state.generator),
            restart=state.restart,
            plain={"scene": state.scene} | state.conditioning.metadata(),
            tensors={},
        )
        state.conditioning.ignored = ()
        state.chunk_index += 1
        state.restart = False
        return plan

    @torch.inference_mode()
    def denoise(self, rows: Sequence[Row], *, fill: int = 1) -> list[Tensor]:
        """Take each row's latents through its call."""
        return self._denoiser.denoise(rows, fill=fill)

    @torch.inference_mode()
    def decode(self, plan: ChunkPlan, latents: Tensor, state: DecoderState) -> Chunk:
        """The pictures that the latents are; `state` remembers nothing."""
        del state
        scene, ignored = plan.plain["scene"], tuple(plan.plain["ignored"])
        silence = np.zeros(0, np.int16)
        return Chunk(plan.index, pictures_of(latents), silence, scene=scene, ignored_words=ignored)

    def snapshot(self, state: ToyState) -> bytes:
        """The whole state as bytes."""
        return state.to_bytes(NAME)

    def restore(self, data: bytes) -> ToyState:
        """The state of a snapshot. Raises ValueError if it is none of this model."""
        saved = SavedState.parse(data, NAME)
        caches, about = self._new_caches(), saved.plain["conditioning"]
        # a stage's part has no caches
        for k, metadata in enumerate(saved.plain["caches"]):
            caches[k].load(saved.part(f"cache.{k}"), metadata)
        return StreamState(
            caches=caches,
            conditioning=ToyPrompt(about["mood"], about["palette"], tuple(about["ignored"])),
            generator=saved.generator(),
            seed=saved.plain["seed"],
            scene=saved.plain["scene"],
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

    def _new_caches(self) -> CachesOnDemand:
        return CachesOnDemand(self.new_cache, self.chunk_steps.caches)


def pictures_of(latents: Tensor) -> np.ndarray:
    """Pictures uint8 RGB [4, 192, 192, 3] of a chunk's latents [1, 1, 12, 12, 12]."""
    colours = ((latents[0, 0] + BACKGROUND).clamp(-1, 1) + 1) * 127.5
    pictures = colours.unflatten(0, (FRAMES, 3)).permute(0, 2, 3, 1).round().to(torch.uint8)
    return pictures.numpy().repeat(SCALE, axis=1).repeat(SCALE, axis=2)


def _known(scene: str) -> str:
    if scene not in SINKS:
        raise ValueError(f"unknown scene {scene!r}: choose one of {', '.join(SINKS)}")
    return scene
