"""The pocket model as a stream: controls in, four frames out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from ..caches_on_demand import CachesOnDemand
from ..chunk_steps import ChunkSteps
from ..contract import PICTURE, Chunk, Controls, Economy, StreamRequest
from ..cpu_threads import one_thread
from ..staged_model import ChunkPlan, Row, draw_seed, run_chunk
from ..state import DecoderState, SavedState, StreamState
from ..student.config import CacheConfig
from ..student.student_cache import StudentCache
from .audio import CHUNK_FRAMES, VisemeNet
from .autoencoder import FRAME_SIZE
from .chunk_conditions import ChunkConditions
from .conditioning_state import PocketConditioning
from .conditions import EXPRESSIONS, unpack_latents
from .config import CACHE, STEPS, STUDENT
from .denoiser import PocketDenoiser
from .director import Director, PocketState
from .looks import NAME, LookEncoder, describe, tensor_bytes
from .looks_on_demand import LooksOnDemand
from .manifest import LookEntry, Manifest
from .prompt import TokenEmbedding
from .stream_student import StreamStudent
from .weights import filled

ASSETS = Path(__file__).parent / "assets"
REBUILD_CHUNKS = 6
"""Behind them pictures differ by .1 of 255 levels (root mean square), at most by 8 where a head is
dragged at random; behind 4 chunks by .14 and 10, behind 10 chunks by .09 and 6. A viewer whose
server is lost waits for them."""


class PocketModel:
    """Weights and looks; every stream's state is a `StreamState`.

    `cache` and `steps` (timesteps of the denoising steps) are what the weights were trained with;
    the first steps alone will do, others are for comparisons. Frames have `size` x `size` pixels, a
    multiple of 32 from 192 to 384, as pictures of looks have; nothing else depends on it, so that a
    stream can be gone on with at another size.
    """

    def __init__(
        self,
        folder: Path | str = ASSETS,
        *,
        cache: CacheConfig = CACHE,
        steps: Sequence[float] = STEPS,
        name: str = NAME,
        size: int = FRAME_SIZE,
    ) -> None:
        folder = Path(folder)
        self._manifest = manifest = Manifest.read(folder / "manifest.json")
        vocabulary = manifest.vocabulary()
        with one_thread():
            weights = {k: t.float() for k, t in load_file(folder / "pocket.safetensors").items()}
            words = filled(
                partial(TokenEmbedding, len(manifest.tokens), STUDENT.text_len, STUDENT.text_dim),
                weights,
                "words",
            )
            self._look_encoder = LookEncoder.of(weights, size)
            visemes = filled(VisemeNet, weights, "visemes")
            student = filled(partial(StreamStudent, STUDENT), weights, "student")
        # the bits of these products depend on the number of threads
        student.make_ready()
        self._looks = LooksOnDemand(self._look_encoder, folder, manifest.looks)
        self._director = Director(manifest, vocabulary, self._looks, self._look_encoder)
        self._conditions = ChunkConditions(
            visemes,
            [vocabulary.index[name] for name in EXPRESSIONS],
            self._look_encoder.spread,
        )
        self.denoiser = PocketDenoiser(
            student,
            words,
            self._looks,
            cache,
            steps,
        )
        self.chunk_steps = ChunkSteps.cache_per_step(steps)
        self.decoder_is_causal = False
        self.rebuild_chunks = REBUILD_CHUNKS
        self.info = describe(manifest, folder, name=name, size=size, steps=len(steps))

    batches = True
    """Chunks of several streams may be one batch, see `batch_shape`."""
    is_soon_warm = True
    """Nothing is compiled, whatever a chunk is told."""

    @torch.inference_mode()
    def start(self, request: StreamRequest) -> PocketState:
        """A new stream.

        Without a `scene` it shows its own picture, or without one the look whose attributes the
        prompt names. Raises ValueError for an unknown scene and for a bad picture.
        """
        state = self._director.begin(request)
        state.caches = self._new_caches()
        return state

    def step(self, state: PocketState, controls: Controls) -> Chunk:
        """Advance by one chunk of four frames."""
        return run_chunk(self, state, controls)

    def new_cache(self) -> StudentCache:
        """An empty cache of one denoising step."""
        return self.denoiser.new_cache()

    @torch.inference_mode()
    def prepare(self, state: PocketState, controls: Controls) -> ChunkPlan:
        """Apply the controls, and say what the next chunk's steps and decoder need to know."""
        ignored = self._director.apply_controls(state, controls)
        own = state.conditioning.picture
        look = self._director.known(state.scene, own)
        talking, conditions = self._conditions.advance(state.conditioning, look)
        if own is not None and state.scene == PICTURE:
            conditions |= own.tensors()
        calls = self._calls_of(state.conditioning, controls.economy)
        if state.restart or calls["steps"] > calls["seen"]:
            conditions["sink_words"] = state.conditioning.words_of_sink()
        plan = ChunkPlan(
            index=state.chunk_index,
            noise_seed=draw_seed(state.generator),
            restart=state.restart,
            plain={
                "scene": state.scene,
                "talking": talking,
                "ignored_words": ignored,
                "every": min(max(1, controls.economy.frame_every), CHUNK_FRAMES),
            }
            | calls,
            tensors=conditions,
        )
        state.chunk_index += 1
        state.restart = False
        return plan

    @torch.inference_mode()
    def denoise(self, rows: Sequence[Row], *, fill: int = 1) -> list[Tensor]:
        """Take each row's latents through its step."""
        return self.denoiser.denoise(rows, fill=fill)

    @torch.inference_mode()
    def decode(self, plan: ChunkPlan, latents: Tensor, state: DecoderState) -> Chunk:
        """The frames of a chunk's latents, with the speech that they show."""
        scene: str = plan.plain["scene"]
        if scene == PICTURE:
            look = self._look_encoder.own_once(tensor_bytes(plan.tensors["picture"]), state).look
        else:
            look = self._looks[scene]
        packed, every = unpack_latents(latents)[0], plan.plain["every"]
        pictures = self._look_encoder.frames(packed[::every], look)
        if every > 1:
            pictures = np.repeat(pictures, every, axis=0)[: len(packed)]
        heard = plan.tensors["heard"].numpy()
        ignored = tuple(plan.plain["ignored_words"])
        return Chunk(plan.index, pictures, heard, plan.plain["talking"], scene, ignored)

    def snapshot(self, state: PocketState) -> bytes:
        """The whole state as bytes."""
        return state.to_bytes(NAME)

    def small_snapshot(self, state: PocketState) -> bytes:
        """Without the caches: each chunk is told all that it shows, and soon they are as before."""
        return state.small_bytes(NAME)

    @torch.inference_mode()
    def restore(self, data: bytes) -> PocketState:
        """The state of a snapshot of either kind. Raises ValueError if it is none of this model.

        Of a small one the caches begin anew with the next chunk, as behind a cut. With fewer steps
        than it was made with, or more, the stream goes on as if these had been left out.
        """
        saved = SavedState.parse(data, NAME)
        scene = saved.plain["scene"]
        plain = saved.plain["conditioning"]
        conditioning = self._director.load(scene, saved.part("conditioning"), plain)
        caches, known = self._new_caches(), saved.plain["caches"]
        for k, metadata in enumerate(known[: len(caches)]):
            caches[k].load(saved.part(f"cache.{k}"), metadata)
        if 0 < len(known) < len(caches) and conditioning.steps is None:
            conditioning.steps = len(known)
        return StreamState(
            caches=caches,
            conditioning=conditioning,
            generator=saved.generator(),
            seed=saved.plain["seed"],
            scene=scene,
            prompt=saved.plain["prompt"],
            chunk_index=saved.plain["chunk_index"],
            restart=saved.plain["restart"] or saved.is_small,
            decoder=saved.decoder(),
        )

    def _calls_of(self, kept: PocketConditioning, economy: Economy) -> dict[str, int]:
        """How many steps the next chunk takes, and how many caches have seen the one before it."""
        most = self.chunk_steps.steps
        steps = most if economy.steps is None else min(max(1, economy.steps), most)
        seen = most if kept.steps is None else kept.steps
        kept.steps = None if steps == most else steps
        return {"steps": steps, "seen": seen}

    def _new_caches(self) -> CachesOnDemand:
        return CachesOnDemand(self.new_cache, self.chunk_steps.caches)

    @property
    def looks(self) -> tuple[LookEntry, ...]:
        """What this model can show."""
        return self._manifest.looks
