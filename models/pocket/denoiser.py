"""The pocket student's calls: rows of chunks to steps, with contexts and sinks kept for reuse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter

import torch
from cachetools import LRUCache, cachedmethod
from torch import Tensor

from ..contract import PICTURE
from ..sampling.batches import CallRow, call_rows
from ..sampling.flow_schedule import FlowSchedule
from ..sampling.renoise import Renoise
from ..staged_model import ChunkPlan, Row, step_noise
from ..student.cache_pool import CachePool
from ..student.causal_student import CausalStudent
from ..student.conditioning import Conditions, TextContext
from ..student.config import CacheConfig
from ..student.student_cache import StudentCache
from .audio import CHUNK_FRAMES
from .autoencoder import LATENT_SIZE
from .conditions import FRAME_DIM, GROUP, PACKED_CHANNELS, PACKED_TRACK_CHANNELS, VISEMES
from .config import SHIFT
from .looks import Look
from .prompt import TokenEmbedding

_KEPT = 8
_LATENT_SHAPE = (1, 1, PACKED_CHANNELS, LATENT_SIZE, LATENT_SIZE)


class PocketDenoiser:
    """The student with its words, and what it needs of each look to start a cache anew."""

    def __init__(
        self,
        student: CausalStudent,
        words: TokenEmbedding,
        looks: Mapping[str, Look],
        cache: CacheConfig,
        timesteps: Sequence[float],
    ) -> None:
        self.student = student
        self.schedule = FlowSchedule(SHIFT)
        self._words = words
        self._looks = looks
        self._cache = cache
        self._timesteps = tuple(timesteps)
        self._pool = CachePool()
        # pure functions of few values: streams that show and ask the same share them
        self._contexts: LRUCache[bytes, TextContext] = LRUCache(_KEPT)
        self._sinks: LRUCache[tuple[str, bytes], StudentCache] = LRUCache(_KEPT)

    def new_cache(self) -> StudentCache:
        """An empty cache of one denoising step."""
        return self._pool.seat(self._lone_cache())

    def _lone_cache(self) -> StudentCache:
        return self.student.new_cache(self._cache, height=LATENT_SIZE, width=LATENT_SIZE)

    def denoise(self, rows: Sequence[Row], *, fill: int = 1) -> list[Tensor]:
        """Take each row's latents through its step, if its chunk makes that one."""
        own = [k for k, row in enumerate(rows) if row.call < row.plan.plain["steps"]]
        made: list[Tensor | None] = [row.latents for row in rows]
        if own:
            calls = [self.call_row(rows[k]) for k in own]
            results = call_rows(self.student, calls, fill=fill)
            for k, latents in zip(own, results, strict=True):
                made[k] = latents
        clean = [latents for latents in made if latents is not None]
        assert len(clean) == len(rows), "every chunk takes its first step"
        return clean

    def call_row(self, row: Row) -> CallRow:
        """What the student is told for a row; a chunk that starts anew gets a fresh sink.

        So does one whose predecessor left this step out: what the cache has is not what was shown
        just before.
        """
        told = row.plan.tensors
        scene: str = row.plan.plain["scene"]
        channels = told["channels"] if scene == PICTURE else self._looks[scene].channels
        if row.plan.restart or row.call >= row.plan.plain["seen"]:
            sink = self._sink(row.plan, channels)
            row.cache.load(sink.tensors(), sink.metadata())

        def noise(step: int) -> Tensor:
            return step_noise(row.plan, step, _LATENT_SHAPE)

        return CallRow(
            noise(0) if row.latents is None else row.latents,
            context=self._context(told["words"]),
            conditions=Conditions(
                told["frames"],
                told["speech"],
                told["tracks"],
                channels,
                told["base"],
            ),
            cache=row.cache,
            sampler=Renoise(
                self.schedule,
                self._timesteps[: row.plan.plain["steps"]],
                lambda _: noise(row.call + 1),
            ),
            step=row.call,
        )

    @cachedmethod(attrgetter("_contexts"), key=lambda _, words: words.numpy().tobytes())
    def _context(self, words: Tensor) -> TextContext:
        return self.student.encode_text(self._words(words))

    def _sink(self, plan: ChunkPlan, channels: Tensor) -> StudentCache:
        """A cache with nothing but the look's picture as its sink."""
        scene, words = plan.plain["scene"], plan.tensors["sink_words"]
        if scene == PICTURE:
            # somebody's own: nobody else can use it, and it must not be kept here
            return self._see_reference(plan.tensors["base"], channels, words)
        return self._shared_sink(scene, words)

    @cachedmethod(
        attrgetter("_sinks"), key=lambda _, scene, words: (scene, words.numpy().tobytes())
    )
    def _shared_sink(self, scene: str, words: Tensor) -> StudentCache:
        look = self._looks[scene]
        return self._see_reference(look.base, look.channels, words)

    def _see_reference(self, base: Tensor, channels: Tensor, words: Tensor) -> StudentCache:
        cache = self._lone_cache()
        conditions = Conditions(
            frames=torch.zeros(1, 1, FRAME_DIM),
            audio=torch.zeros(1, 1, GROUP, VISEMES),
            tracks=torch.zeros(1, CHUNK_FRAMES, PACKED_TRACK_CHANNELS, LATENT_SIZE, LATENT_SIZE),
            channels=channels,
            base=base,
        )
        self.student(base, torch.zeros(1, 1), self._context(words), cache, conditions)
        cache.advance(1)
        return cache
