"""A staged model that tells a chunk's latents, so that executors can be compared by them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any, cast

import numpy as np
from torch import Tensor

from ...models.contract import Chunk, Controls, ModelInfo, TrackEvent
from ...models.registry import load_model
from ...models.staged_model import ChunkPlan, StagedModel, run_chunk
from ...models.state import DecoderState


class Fingerprinted:
    """The model itself, but that a chunk's `ignored_words` are a hash of its latents' bytes."""

    def __init__(self, model: StagedModel[Any]) -> None:
        self._model = model
        self.latents: list[Tensor] | None = None
        """Filled while it is a list."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def step(self, state: Any, controls: Controls) -> Chunk:
        """A whole chunk, with its fingerprint."""
        return run_chunk(cast(StagedModel[Any], self), state, controls)

    def decode(self, plan: ChunkPlan, latents: Tensor, state: DecoderState) -> Chunk:
        """The chunk with the fingerprint of its latents."""
        if self.latents is not None:
            self.latents.append(latents.clone())
        digest = hashlib.sha256(latents.contiguous().numpy().tobytes()).hexdigest()
        return replace(self._model.decode(plan, latents, state), ignored_words=(digest,))


def fingerprinted(name: str, threads: int) -> Any:
    """Load a model by its name. Raises ValueError for one that cannot be run in stages."""
    model = load_model(name, threads=threads)
    if not isinstance(model, StagedModel):
        raise ValueError(f"{name} cannot be run in stages; only models with denoising steps can")
    return Fingerprinted(model)


def event_log(info: ModelInfo, chunks: int, seed: int = 0) -> list[Controls]:
    """Speech, and now and then a prompt, a track, another scene, a reset: all while it streams."""
    rng = np.random.default_rng(seed)
    scenes = [scene.name for scene in info.scenes]
    prompts = () if info.inputs.prompt is None else info.inputs.prompt.examples
    log: list[Controls] = []
    for k in range(chunks):
        speech = (rng.standard_normal(info.chunk_samples) * 3000).astype(np.int16)
        track = TrackEvent(1, "down" if k % 6 == 1 else "move", rng.random(), rng.random())
        log.append(
            Controls(
                audio=speech[: 0 if k % 5 == 4 else len(speech)],
                prompt=prompts[k % len(prompts)] if prompts and k % 9 == 3 else None,
                transition_chunks=2,
                scene=scenes[k % len(scenes)] if scenes and k % 11 == 5 else None,
                tracks=(track,) if k % 3 == 1 else (),
                clear_tracks=None if k % 12 == 11 else (),
                clear_audio=k % 13 == 8,
                reset=k % 17 == 16,
                seed=k if k % 23 == 21 else None,
            )
        )
    return log
