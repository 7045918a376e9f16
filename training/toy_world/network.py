"""The toy world's network: the student that the server runs, at toy size, and its prompts.

One class is the bidirectional teacher (one chunk is the clip), the fake score, and the causal
student (one chunk is a latent frame) with the caches, sinks and samplers of a stream.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from rollcast.models.student.conditioning import TextContext
from rollcast.models.student.config import CacheConfig, RopeFamily
from rollcast.models.student.student_cache import StudentCache
from rollcast.models.toy_world.config import (
    CACHE,
    LAYERS,
    PATCH,
    SIZE,
    STEPS,
    WIDTH,
    WORD,
    toy_config,
)
from rollcast.models.toy_world.network import PromptedStudent

from .world import Prompt


class ToyNetwork(PromptedStudent):
    """The network that is served, with the passes of a teaching; `cache` is its stream's."""

    def __init__(
        self,
        width: int = WIDTH,
        layers: int = LAYERS,
        cache: CacheConfig = CACHE,
        *,
        patch: tuple[int, int, int] = PATCH,
        rope: RopeFamily = "slot",
    ) -> None:
        super().__init__(toy_config(width, layers, patch=patch, rope=rope))
        self.cache = cache
        self.steps: nn.Embedding | None = None
        """What it is told of how many steps it is asked for; None: nothing."""

    def turn_by(self, rope: RopeFamily) -> None:
        """From here on keys are turned so; a network has no weights of RoPE."""
        self.student.config = replace(self.student.config, rope=rope)

    def tell_steps(self) -> None:
        """From here on it is told the number of steps, of which it knows nothing yet."""
        self.steps = nn.Embedding(len(STEPS) + 1, WORD)
        nn.init.zeros_(self.steps.weight)

    def context(self, prompt: Prompt) -> TextContext:
        """What attention reads of prompts, and of the number of steps if that is told."""
        words = self.words(prompt.mood, prompt.palette)
        if self.steps is not None and prompt.steps is not None:
            words = words + self.steps(prompt.steps)[:, None]
        return self.student.encode_text(words)

    def forward(self, noisy: Tensor, sigma: Tensor, prompt: Prompt) -> Tensor:
        """The clean clips [B, F, 12, 12, 12] in `noisy`, all chunks at once, at `sigma` [B]."""
        frames = noisy.shape[1]
        return self.student.forward_sequence(
            noisy,
            _times(sigma, noisy),
            self.context(prompt),
            cache=CacheConfig(window_frames=frames),
            chunk_frames=frames,
        )

    def behind(self, clean: Tensor, noisy: Tensor, sigma: Tensor, prompt: Prompt) -> Tensor:
        """One step of every chunk behind the `clean` chunks before it; `sigma` [B] or [B, F].

        Gradients go to the past's keys as well, unless `clean_past` is detached by the caller.
        """
        context = self.context(prompt)
        past = self.student.clean_past(clean, context, cache=self.cache, chunk_frames=1)
        return self.student.forward_behind(past, noisy, _times(sigma, noisy), context)

    def last_step(self, clean: Tensor, noisy: Tensor, sigma: Tensor, prompt: Prompt) -> Tensor:
        """As `behind`, the past as a stream's cache gives it: without a way for gradients."""
        with torch.no_grad():
            past = self.student.clean_past(
                clean, self.context(prompt), cache=self.cache, chunk_frames=1
            )
        return self.student.forward_behind(
            past.detached(), noisy, _times(sigma, noisy), self.context(prompt)
        )

    def masked(self, noisy: Tensor, sigma: Tensor, prompt: Prompt) -> Tensor:
        """All chunks in one pass behind a past as noisy as they are: a cache for each step."""
        return self.student.forward_sequence(
            noisy,
            _times(sigma, noisy),
            self.context(prompt),
            cache=self.cache,
            chunk_frames=1,
        )

    def stream(self, prompt: Prompt, cache: CacheConfig | None = None) -> Stream:
        """A stream of as many rows as there are prompts."""
        return Stream(self, prompt, cache or self.cache)


class Stream:
    """Rows of streams side by side, on the caches that the server has."""

    def __init__(self, network: ToyNetwork, prompt: Prompt, cache: CacheConfig) -> None:
        self._student = network.student
        self._context = network.context(prompt)
        self._rows = len(prompt)
        self._cache: StudentCache = network.student.new_cache(
            cache, height=SIZE, width=SIZE, batch=self._rows
        )

    def estimate(self, noisy: Tensor, sigma: float) -> Tensor:
        """The clean chunk [B, 1, 12, 12, 12] in `noisy`, behind what is kept."""
        times = torch.full((self._rows, 1), 1000 * sigma)
        return self._student(noisy, times, self._context, self._cache)

    def keep(self, clean: Tensor) -> None:
        """The chunk is done: a clean pass leaves its keys and values to those behind it."""
        self.estimate(clean, 0.0)
        self._cache.advance(1)


def _times(sigma: Tensor, noisy: Tensor) -> Tensor:
    """Timesteps [B, F] of noise levels [B] or [B, F]."""
    each = sigma if sigma.ndim == 2 else sigma[:, None]
    return (1000 * each).expand(noisy.shape[:2])


def averaged_into(mean: nn.Module, latest: nn.Module, keep: float) -> None:
    """Move averaged weights by 1 - `keep` towards the latest ones."""
    with torch.no_grad():
        for old, new in _pairs(mean, latest):
            old.lerp_(new, 1 - keep)


def _pairs(one: nn.Module, other: nn.Module) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(one.parameters(), other.parameters(), strict=True)
