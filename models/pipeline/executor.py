"""What a model offers so that its chunks can be made in stages, and what every executor does.

A chunk is made in three parts: `prepare` turns controls into a `ChunkPlan`, `denoise` takes its
latents through one step after another, `decode` makes frames of them. All that a step remembers is
its own cache, so any part may run in another process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from ..contract import (
    Chunk,
    Controls,
    ModelInfo,
    Stepper,
)
from ..student.kv_cache import StudentCache
from .events import Finished


@dataclass(frozen=True, slots=True)
class ChunkPlan:
    """All that the steps and the decoder need to know of one chunk, beside its latents.

    `noise_seed` is what every step draws its noise from, wherever it runs. With `restart` each
    step starts its cache anew when this chunk reaches it: a new sink needs no drain. `plain` is
    JSON-able, `tensors` are small; both are the model's own affair. `needed_by` is the chunk whose
    front needs this one's clean latents, if any: it finds them in `state.returns`. At least S
    chunks lie between them, so that nobody waits (Live Avatar's sink is the stream's own first
    latent, arXiv 2512.04677, section 4.3, for which its pipeline drains).
    """

    index: int
    noise_seed: int
    restart: bool
    plain: dict[str, Any]
    tensors: dict[str, Tensor]
    needed_by: int | None = None

    def check(self, steps: int) -> None:
        """Raise ValueError if its latents are needed before they are there in every executor."""
        if self.needed_by is not None and self.needed_by < self.index + steps:
            raise ValueError(
                f"chunk {self.index} is needed by {self.needed_by}; with {steps} steps its latents "
                f"are there for chunk {self.index + steps}"
            )


@dataclass(frozen=True, slots=True)
class Row:
    """One step of one chunk: `latents` are those of the step before, None for the first."""

    plan: ChunkPlan
    step: int
    latents: Tensor | None
    cache: StudentCache


class StagedState(Protocol):
    """A stream's state: its caches, one a step, and whatever `prepare` keeps.

    `returns` are latents that came back, by the chunk that needs them; `prepare` takes them out.
    `kept` is the decoder's.
    """

    caches: list[StudentCache]
    returns: dict[int, Tensor]
    kept: dict[str, Any]


State = TypeVar("State", bound=StagedState)


@runtime_checkable
class StagedModel(Stepper[State], Protocol[State]):
    """A `Stepper` that can be taken apart; `run_chunk` of the parts is its `step`."""

    @property
    def steps(self) -> int:
        """Denoising steps of a chunk, S."""
        ...

    def new_cache(self) -> StudentCache:
        """An empty cache of one step; a plan with `restart` comes before all others."""
        ...

    def prepare(self, state: State, controls: Controls) -> ChunkPlan:
        """Apply `controls` and advance all of `state` but its caches by one chunk."""
        ...

    def denoise(self, rows: Sequence[Row]) -> list[Tensor]:
        """The latents of each row after its step, as one batch; advances their caches."""
        ...

    def decode(self, plan: ChunkPlan, latents: Tensor, kept: dict[str, Any]) -> Chunk:
        """The chunk that the last step's latents show.

        `kept` is this stream's own where it is decoded, for what a plan tells and takes long to
        work out; it may be empty again at any chunk, and is gone with the stream.
        """
        ...


class Executor(Protocol):
    """Runs the chunks of any number of streams; each stream's chunks come in order."""

    @property
    def info(self) -> ModelInfo:
        """What the model makes."""
        ...

    def open(
        self,
        stream: str,
        *,
        seed: int,
        scene: str | None = None,
        prompt: str | None = None,
        picture: bytes | None = None,
    ) -> None:
        """Begin a stream. Raises ValueError for what the model's `start` refuses."""
        ...

    def step(self, stream: str, controls: Controls) -> list[Finished]:
        """Admit one more chunk of `stream`; the chunks that were finished meanwhile, if any."""
        ...

    def finish(self) -> list[Finished]:
        """The chunks that are still under way, admitting none."""
        ...

    def close(self, stream: str) -> None:
        """Free a stream; what is under way of it is dropped."""
        ...


def run_chunk(model: StagedModel[State], state: State, controls: Controls) -> Chunk:
    """One chunk from its controls to its frames, here and now."""
    plan = model.prepare(state, controls)
    plan.check(len(state.caches))
    (latents,) = all_steps(model, [(plan, state.caches)])
    if plan.needed_by is not None:
        state.returns[plan.needed_by] = latents
    return model.decode(plan, latents, state.kept)


def all_steps(
    model: StagedModel[Any], chunks: Sequence[tuple[ChunkPlan, Sequence[StudentCache]]]
) -> list[Tensor]:
    """The clean latents of chunks of different streams, each with its caches, one a step.

    Every step is one batch of all of them.
    """
    samples: list[Tensor | None] = [None] * len(chunks)
    for step in range(len(chunks[0][1])):
        rows = [
            Row(plan, step, sample, caches[step])
            for (plan, caches), sample in zip(chunks, samples, strict=True)
        ]
        samples[:] = model.denoise(rows)
    clean = [sample for sample in samples if sample is not None]
    assert len(clean) == len(chunks), "a model has at least one step"
    return clean


def draw_seed(generator: torch.Generator) -> int:
    """The next chunk's `noise_seed`."""
    return int(torch.randint(2**62, (), generator=generator))


def step_noise(plan: ChunkPlan, step: int, shape: Sequence[int]) -> Tensor:
    """Noise for a step of a chunk: the same in whatever process, plan or batch it is drawn.

    Drawn on the CPU, so that it does not depend on the device either.
    """
    mixed = (plan.noise_seed + step * 0x9E3779B97F4A7C15) % 2**63
    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(mixed))
