"""What a model offers so that its chunks can be made in stages, wherever those run.

A chunk is made in three parts: `prepare` turns controls into a `ChunkPlan`, `denoise` takes its
latents through one call of the student after another, `decode` makes frames of them. All that a
call remembers is in the cache that `ChunkSteps` gives it, and all that the decoder remembers in its
`DecoderState`, so any part may run in another process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from ..kernels.dispatch import normal_noise
from .chunk_plan import ChunkPlan
from .chunk_steps import ChunkSteps
from .contract import Chunk, Controls, Model
from .past_calls import PastCall, with_decoded
from .state import DecoderState
from .student.student_cache import StudentCache


@dataclass(frozen=True, slots=True)
class Row:
    """One call on one chunk: `latents` are those of the call before, None for the first.

    `call` counts as in `ChunkSteps.calls`; `cache` is the one that it reads and writes.
    """

    plan: ChunkPlan
    call: int
    latents: Tensor | None
    cache: StudentCache


class StagedState(Protocol):
    """A stream's state: its caches, its decoder's memory, and whatever `prepare` keeps.

    `returns` are latents that came back, by the chunk that needs them; `prepare` takes them out.
    """

    caches: Sequence[StudentCache]
    decoder: DecoderState
    returns: dict[int, Tensor]


State = TypeVar("State", bound=StagedState)


@runtime_checkable
class StagedModel(Model[State], Protocol[State]):
    """A `Model` that can be taken apart; `run_chunk` of the parts is its `step`."""

    @property
    def chunk_steps(self) -> ChunkSteps:
        """The calls of the student that a chunk takes, and their caches."""
        ...

    @property
    def decoder_is_causal(self) -> bool:
        """Whether frames depend on chunks decoded before, so that no chunk may be left out."""
        ...

    def new_cache(self) -> StudentCache:
        """An empty cache; a plan with `restart` comes before all others."""
        ...

    def prepare(self, state: State, controls: Controls) -> ChunkPlan:
        """Apply `controls` and advance all of `state` but caches and decoder by one chunk."""
        ...

    def denoise(self, rows: Sequence[Row], *, fill: int = 1) -> list[Tensor]:
        """The latents of each row after its call, as one batch.

        The call of a chunk that is the last on its cache advances that cache. A clean pass gives
        its latents back as they were. With fewer rows than `fill` copies of the last
        one make up the batch, and are forgotten: a row's bits depend on how many there are.
        """
        ...

    def decode(self, plan: ChunkPlan, latents: Tensor, state: DecoderState) -> Chunk:
        """The chunk that the clean latents show; advances the stream's decoder by it."""
        ...


def run_chunk(
    model: StagedModel[State], state: State, controls: Controls, *, rows: int = 1
) -> Chunk:
    """One chunk from its controls to its frames, here and now.

    They are made before the clean pass, which they do not need: from a GPU they come while it runs.
    With `rows` bit for bit as it was made in a batch of so many.
    """
    plan = model.prepare(state, controls)
    plan.check(len(model.chunk_steps.calls))
    made = all_steps(model, [(plan, state.caches)], fill=rows)
    chunk = end_chunk(model, plan, made[0], state)
    clean_pass(model, [(plan, state.caches)], made, fill=rows)
    assert chunk is not None, "it is shown"
    return chunk


def step_as_row(model: Model[Any], state: Any, controls: Controls, rows: int) -> Chunk:
    """`model.step`, bit for bit as it was made in a batch of so many `rows`.

    Raises ValueError if this model makes none.
    """
    if rows == 1:
        return model.step(state, controls)
    if not isinstance(model, StagedModel):
        raise ValueError(f"{model.info.name} makes no batches, and was asked for one of {rows}")
    return run_chunk(model, state, controls, rows=rows)


def end_chunk(
    model: StagedModel[State], plan: ChunkPlan, latents: Tensor, state: State, *, shown: bool = True
) -> Chunk | None:
    """What follows the last step, where state and decoder are in one process.

    Clean latents that a chunk to come needs are kept; then as `decode_chunk`.
    """
    keep_returns(plan, latents, state)
    return decode_chunk(model, plan, latents, state.decoder, shown=shown)


def keep_returns(plan: ChunkPlan, latents: Tensor, state: StagedState) -> None:
    """Keep clean latents that a chunk to come needs."""
    if plan.needed_by is not None:
        state.returns[plan.needed_by] = latents


def decode_chunk(
    model: StagedModel[Any],
    plan: ChunkPlan,
    latents: Tensor,
    state: DecoderState,
    *,
    shown: bool = True,
) -> Chunk | None:
    """`model.decode`, with a decoder that starts anew where the chunk does; None if not `shown`.

    Such a chunk is decoded all the same where later frames depend on it.
    """
    if plan.restart:
        state.reset()
    if not shown and not model.decoder_is_causal:
        return None
    chunk = model.decode(plan, latents, state)
    if model.decoder_is_causal:
        state.recent = with_decoded(state.recent, plan, latents)
    return chunk if shown else None


def show_again(model: StagedModel[Any], recent: Sequence[PastCall]) -> DecoderState:
    """A causal decoder that has seen these chunks; nothing is shown of them."""
    state = DecoderState()
    for each in recent:
        assert each.latents is not None, "a decoder is given latents"
        decode_chunk(model, each.plan, each.latents, state, shown=False)
    return state


Chunks = Sequence[tuple[ChunkPlan, Sequence[StudentCache]]]
"""Plans of chunks of different streams, each with the stream's caches."""


def all_calls(model: StagedModel[Any], chunks: Chunks) -> list[Tensor]:
    """The clean latents of `chunks`, with the clean pass behind them."""
    made = all_steps(model, chunks)
    clean_pass(model, chunks, made)
    return made


def all_steps(model: StagedModel[Any], chunks: Chunks, *, fill: int = 1) -> list[Tensor]:
    """The clean latents of `chunks`; every step is one batch of all of them."""
    samples: list[Tensor | None] = [None] * len(chunks)
    for number in range(model.chunk_steps.steps):
        samples[:] = _call(model, number, chunks, samples, fill)
    clean = [sample for sample in samples if sample is not None]
    assert len(clean) == len(chunks), "a chunk takes at least one call"
    return clean


def clean_pass(
    model: StagedModel[Any], chunks: Chunks, made: Sequence[Tensor], *, fill: int = 1
) -> None:
    """Write the caches of `chunks` by what `all_steps` gave, if the model has a clean pass."""
    for number in range(model.chunk_steps.steps, len(model.chunk_steps.calls)):
        _call(model, number, chunks, made, fill)


def _call(
    model: StagedModel[Any],
    number: int,
    chunks: Chunks,
    samples: Sequence[Tensor | None],
    fill: int,
) -> list[Tensor]:
    cache = model.chunk_steps.calls[number].cache
    rows = [
        Row(plan, number, sample, caches[cache])
        for (plan, caches), sample in zip(chunks, samples, strict=True)
    ]
    return denoise_filled(model, rows, fill)


def denoise_filled(model: StagedModel[Any], rows: Sequence[Row], fill: int) -> list[Tensor]:
    """`model.denoise`; a model that is never batched need not know of `fill`."""
    return model.denoise(rows) if fill <= len(rows) else model.denoise(rows, fill=fill)


def draw_seed(generator: torch.Generator) -> int:
    """The next chunk's `noise_seed`."""
    return int(torch.randint(2**62, (), generator=generator))


def step_noise(plan: ChunkPlan, step: int, shape: Sequence[int]) -> Tensor:
    """Noise for a step of a chunk: the same in whatever process, order or batch it is drawn.

    Drawn on the CPU, so that it does not depend on the device either.
    """
    mixed = (plan.noise_seed + step * 0x9E3779B97F4A7C15) % 2**63
    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(mixed))


def counter_noise(
    plan: ChunkPlan,
    step: int,
    shape: Sequence[int],
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Noise for a step of a chunk as `step_noise` is, other numbers, drawn on `device`.

    Bit for bit the same there as on the CPU, but for `dtype`, to which it is rounded.
    """
    return normal_noise(plan.noise_seed, step, shape, torch.device(device), dtype)
