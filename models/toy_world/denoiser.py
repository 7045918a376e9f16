"""The toy student's calls: rows of chunks to steps and clean passes, each by its scene's sink."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..chunk_steps import ChunkSteps
from ..sampling.batches import CallRow, call_rows
from ..sampling.renoise import Renoise
from ..staged_model import Row, step_noise
from ..student.cache_pool import CachePool
from ..student.causal_student import NO_CONDITIONS
from ..student.conditioning import TextContext
from ..student.student_cache import StudentCache
from .config import CACHE, CHANNELS, SCHEDULE, SINKS, SIZE, STEPS
from .network import PromptedStudent

CHUNK_STEPS = ChunkSteps.one_cache(STEPS)
_LATENT_SHAPE = (1, 1, CHANNELS, SIZE, SIZE)


class ToyDenoiser:
    """The student with its words. Plans have a `scene`, a `mood` and a `palette`."""

    def __init__(self, network: PromptedStudent) -> None:
        self._network = network
        self._pool = CachePool()
        # there are but twelve prompts
        self._contexts: dict[tuple[int, int], TextContext] = {}

    def new_cache(self) -> StudentCache:
        """An empty cache; a chunk that starts anew gives it the sink of its scene."""
        return self._pool.seat(self._network.student.new_cache(CACHE, height=SIZE, width=SIZE))

    def denoise(self, rows: Sequence[Row], *, fill: int = 1) -> list[Tensor]:
        """What each row's call leaves."""
        return call_rows(self._network.student, [self._call_row(row) for row in rows], fill=fill)

    def _call_row(self, row: Row) -> CallRow:
        told, call = row.plan.plain, CHUNK_STEPS.calls[row.call]
        if row.plan.restart and CHUNK_STEPS.first_on_cache(row.call):
            row.cache.reset(SINKS[told["scene"]])

        def noise(step: int) -> Tensor:
            return step_noise(row.plan, step, _LATENT_SHAPE)

        return CallRow(
            noise(0) if row.latents is None else row.latents,
            self._context(told["mood"], told["palette"]),
            NO_CONDITIONS,
            row.cache,
            None if call.clean_pass else Renoise(SCHEDULE, STEPS, lambda _: noise(row.call + 1)),
            row.call,
            clean_timestep=call.timestep,
            advances=CHUNK_STEPS.last_on_cache(row.call),
        )

    def _context(self, mood: int, palette: int) -> TextContext:
        if (mood, palette) not in self._contexts:
            words = torch.tensor([mood]), torch.tensor([palette])
            self._contexts[mood, palette] = self._network.told(*words)
        return self._contexts[mood, palette]
