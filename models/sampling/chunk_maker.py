"""A published student at work: chunk after chunk of a stream, as its recipe says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..student.causal_student import NO_CONDITIONS, CausalStudent
from ..student.conditioning import Conditions, TextContext
from ..student.config import CacheConfig
from ..student.student_cache import StudentCache
from .denoising import Expert, prefill, sample_chunk
from .joint_window import JointWindow, roll_window
from .recipe import Recipe
from .sampler import NoiseSource


@dataclass(frozen=True, slots=True)
class Prompt:
    """A text, and perhaps an image, as the student sees it and as its clean expert does."""

    context: TextContext
    clean: TextContext | None = None


@dataclass(slots=True)
class ChunkStream:
    """All that a stream of latents is between two chunks.

    `chunks` were asked for so far, those that a joint window still holds included.
    """

    cache: StudentCache
    chunks: int = 0
    window: JointWindow = field(default_factory=JointWindow)

    def tensors(self) -> dict[str, Tensor]:
        """The tensors to save; not copies."""
        kept = {f"cache.{name}": tensor for name, tensor in self.cache.tensors().items()}
        return kept | {f"window.{name}": t for name, t in self.window.tensors().items()}

    def metadata(self) -> dict[str, Any]:
        """The rest, JSON-able."""
        return {
            "cache": self.cache.metadata(),
            "window": self.window.metadata(),
            "chunks": self.chunks,
        }

    def load(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
        """Take over what a stream of the same shape saved. Raises ValueError for another one."""

        def part(name: str) -> dict[str, Tensor]:
            return {k.removeprefix(name): t for k, t in tensors.items() if k.startswith(name)}

        self.cache.load(part("cache."), metadata["cache"])
        self.window = JointWindow.of(part("window."), metadata["window"])
        self.chunks = int(metadata["chunks"])


class ChunkMaker:
    """A student with its recipe and its cache, for any number of streams.

    `expert` has the weights for clean latents of a recipe with `clean_expert`. Raises ValueError if
    there is one without the other, or a joint window without a cache for it.
    """

    def __init__(
        self,
        student: CausalStudent,
        recipe: Recipe,
        cache: CacheConfig,
        expert: CausalStudent | None = None,
    ) -> None:
        if recipe.clean_expert != (expert is not None):
            raise ValueError(f"clean_expert {recipe.clean_expert}, and expert {expert is not None}")
        if (recipe.sampler == "joint") != (cache.reach_frames is not None):
            raise ValueError(
                f"sampler {recipe.sampler!r} with reach_frames {cache.reach_frames}; a joint "
                "window needs them, others have no use for them"
            )
        self.student, self.recipe, self.expert = student, recipe, expert
        self._cache = cache

    def encode(self, text: Tensor, image: Tensor | None = None) -> Prompt:
        """`CausalStudent.encode_text` of whoever needs it."""
        context = self.student.encode_text(text, image)
        return Prompt(context, self.expert.encode_text(text, image) if self.expert else None)

    def start(self, *, height: int, width: int, batch: int = 1) -> ChunkStream:
        """A stream of `height` x `width` latents that has not begun."""
        cache = self.student.new_cache(self._cache, height=height, width=width, batch=batch)
        return ChunkStream(cache)

    def give(
        self,
        stream: ChunkStream,
        latents: Tensor,
        prompt: Prompt,
        conditions: Conditions = NO_CONDITIONS,
    ) -> None:
        """Begin `stream` with clean `latents`, as `prefill` does; they count as no chunk.

        Raises ValueError for a joint window, whose published code cannot.
        """
        if self.recipe.sampler == "joint":
            raise ValueError("a joint window begins with noise; it takes no latents")
        writer = self._writer(prompt) or Expert(self.student, prompt.context)
        prefill(
            writer.student,
            stream.cache,
            latents,
            writer.context,
            conditions,
            chunk_frames=self.recipe.chunk_frames,
            first_frames=self.recipe.first_frames,
        )

    def next_frames(self, stream: ChunkStream) -> int:
        """Latent frames of the noise that the next chunk begins with."""
        return self.recipe.frames_of(stream.cache.position)

    def next(
        self,
        stream: ChunkStream,
        noise: Tensor | None,
        prompt: Prompt,
        conditions: Conditions = NO_CONDITIONS,
        *,
        renoise: NoiseSource = torch.randn_like,
        held: Tensor | None = None,
    ) -> Tensor | None:
        """The next clean latents [B, F, C, h, w]; None while a joint window fills.

        `noise` has that shape, F being `next_frames`; for a joint window None ends the stream, and
        `conditions` are those of the whole window. `held` as in `sample_chunk`. Raises ValueError
        for noise of another length.
        """
        if noise is not None and noise.shape[1] != self.next_frames(stream):
            raise ValueError(
                f"noise of {noise.shape[1]} frames; the next chunk has {self.next_frames(stream)}"
            )
        if self.recipe.sampler == "joint":
            made = roll_window(
                self.student,
                stream.cache,
                stream.window,
                noise,
                self.recipe.timesteps(),
                prompt.context,
                conditions,
                block_frames=self.recipe.chunk_frames,
                schedule=self.recipe.schedule(),
                renoise=renoise,
                context_timestep=self.recipe.context_timestep,
            )
        elif noise is None:
            raise ValueError("no noise; only a joint window goes on without")
        else:
            made = sample_chunk(
                self.student,
                stream.cache,
                noise,
                self.recipe.sampler_for(stream.chunks, renoise),
                prompt.context,
                conditions,
                context_timestep=self.recipe.context_timestep,
                expert=self._writer(prompt),
                held=held,
            )
        stream.chunks += noise is not None
        return made

    def _writer(self, prompt: Prompt) -> Expert | None:
        if self.expert is None:
            return None
        if prompt.clean is None:
            raise ValueError("a prompt without the expert's context; use ChunkMaker.encode")
        return Expert(self.expert, prompt.clean)
