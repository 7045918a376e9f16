"""A model with a clean pass and a causal decoder in one process: what its chunks are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from rollcast.models.contract import Chunk, Controls, StreamRequest
from rollcast.models.pipeline.batched import Batched
from rollcast.models.pipeline.diagonal import Diagonal
from rollcast.models.pipeline.events import Dropped, Finished
from rollcast.models.pipeline.executor import Executor, make_chunk, make_rest
from rollcast.models.pipeline.sequential import Sequential
from rollcast.models.sampling.batches import CallRow, call_rows
from rollcast.models.sampling.denoising import denoise_chunk
from rollcast.models.staged_model import ChunkPlan, Row, StagedModel
from rollcast.models.state import DecoderState
from rollcast.models.student.causal_student import NO_CONDITIONS
from rollcast.models.student.student_cache import StudentCache

from ...variants import some_of
from .running import chunks_of
from .tiny import control_log
from .tiny_causal import (
    INFO,
    LATENTS,
    SCHEDULE,
    STEPS,
    CausalState,
    TinyCausal,
    causal_log,
    frame_counts,
    pixels,
)

pytestmark = pytest.mark.slow

CHUNKS = 24


def stream(model: TinyCausal, log: Sequence[Controls], seed: int = 1) -> list[Chunk]:
    state = model.start(StreamRequest(seed=seed))
    return [model.step(state, controls) for controls in log]


@torch.inference_mode()
def offline(model: TinyCausal, log: Sequence[Controls], seed: int = 1) -> Tensor:
    """The latents of a whole stream without a reset, [1, chunks * 3, C, h, w]."""
    state = model.start(StreamRequest(seed=seed))
    cache = model.new_cache()
    made: list[Tensor] = []
    for controls in log:
        plan = model.prepare(state, controls)
        calls = iter(range(1, len(STEPS)))
        made.append(
            denoise_chunk(
                model.student,
                cache,
                model.noise(plan, 0),
                STEPS,
                model.context(plan.tensors["words"]),
                schedule=SCHEDULE,
                renoise=lambda _, plan=plan, calls=calls: model.noise(plan, next(calls)),
            )
        )
    return torch.cat(made, dim=1)


class Noted(TinyCausal):
    """It notes the calls and the decoder in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.order: list[int | str] = []

    def denoise(self, rows: Sequence[Row], *, fill: int = 1) -> list[Tensor]:
        self.order.append(rows[0].call)
        return super().denoise(rows, fill=fill)

    def decode(self, plan: ChunkPlan, latents: Tensor, state: DecoderState) -> Chunk:
        self.order.append("decode")
        return super().decode(plan, latents, state)


def test_frames_are_made_before_the_clean_pass() -> None:
    model = Noted()
    model.step(model.start(StreamRequest(seed=1)), Controls())
    assert model.order == [0, 1, 2, 3, "decode", 4]
    model.order.clear()
    executor = Batched(model, 2)
    for name in "ab":
        executor.open(name, StreamRequest(seed=1))
        executor.submit(name, Controls())
    assert len(executor.poll(0.0)) == 2
    assert model.order == [0, 1, 2, 3, "decode", "decode", 4]


def test_it_is_what_the_published_models_are() -> None:
    model = TinyCausal()
    assert isinstance(model, StagedModel)
    assert model.chunk_steps.caches == 1
    assert [call.clean_pass for call in model.chunk_steps.calls] == [*[False] * 4, True]
    assert model.chunk_steps.cuts == () and model.chunk_steps.most_stages == 2
    assert INFO.scenes == () and INFO.sample_rate is None
    assert INFO.inputs.names == {"prompt", "seed"}


@torch.inference_mode()
def test_a_stream_of_chunks_is_one_pass_of_the_published_loop_and_one_of_the_decoder() -> None:
    """Latents bit for bit; frames in float64, whose rounding never reaches a pixel."""
    log = [Controls(prompt=f"words {k}" if k % 3 == 1 else None) for k in range(8)]
    model = TinyCausal("float64")
    chunks = stream(model, log)
    latents = offline(model, log)
    assert torch.equal(torch.cat([each for each, _ in model.kept], dim=1), latents)
    whole = model.decoder(latents, {})[0]
    assert len(whole) == 4 * LATENTS * len(log) - 3
    assert float((torch.cat([each for _, each in model.kept]) - whole).abs().max()) < 1e-10
    assert np.array_equal(np.concatenate([each.frames for each in chunks]), pixels(whole))
    assert 20 < pixels(whole).std() < 100, "a picture, not a flat one"


def test_in_float32_the_latents_are_those_of_the_published_loop_too() -> None:
    log = [Controls()] * 5
    model = TinyCausal()
    stream(model, log)
    assert torch.equal(torch.cat([each for each, _ in model.kept], dim=1), offline(model, log))


@pytest.mark.parametrize(
    "executor", [Sequential, lambda model: Batched(model, 1)], ids=["sequential", "batched"]
)
def test_the_first_chunk_after_a_start_or_a_reset_is_shorter(
    executor: Callable[[TinyCausal], Executor],
) -> None:
    log = causal_log(CHUNKS)
    done = chunks_of(executor(TinyCausal()), log)
    assert (INFO.first_chunk_frames, INFO.chunk_frames) == (9, 12)
    counts = [len(finished.chunk.frames) for finished in done]
    assert counts == frame_counts(log) and counts.count(9) == 4
    assert all(finished.chunk.audio.size == 0 for finished in done)
    assert all(finished.chunk.scene is None for finished in done)


def test_a_reset_forgets_the_past() -> None:
    """With the same seed the second beginning is the first one again, frames and all."""
    again = stream(TinyCausal(), [Controls()] * 3 + [Controls(reset=True)] + [Controls()] * 2)
    for first, second in zip(again[:3], again[3:], strict=True):
        assert np.array_equal(first.frames, second.frames)


@pytest.mark.parametrize("cut", some_of([1, 7, 8, 19], 8))
def test_it_survives_a_snapshot(cut: int) -> None:
    model, log = TinyCausal(), causal_log(CHUNKS)
    whole = stream(model, log)
    state = model.start(StreamRequest(seed=1))
    for controls in log[:cut]:
        model.step(state, controls)
    again = TinyCausal().restore(model.snapshot(state))
    for controls, expected in zip(log[cut:], whole[cut:], strict=True):
        assert np.array_equal(model.step(again, controls).frames, expected.frames)


def test_memory_does_not_grow_with_the_stream() -> None:
    model = TinyCausal()
    state = model.start(StreamRequest(seed=1))
    sizes: list[tuple[int, int]] = []
    for _ in range(20):
        model.step(state, Controls())
        sizes.append((_held(state), len(model.snapshot(state))))
    assert len({held for held, _ in sizes[1:]}) == 1
    saved = [size for _, size in sizes[1:]]
    assert max(saved) - min(saved) <= 16, "digits of numbers"


def _held(state: CausalState) -> int:
    tensors = [*state.decoder.memory.values(), *_tensors(state.caches)]
    return sum(tensor.untyped_storage().nbytes() for tensor in tensors)


def _tensors(caches: Sequence[StudentCache]) -> list[Tensor]:
    return [tensor for cache in caches for tensor in cache.tensors().values()]


def test_steps_and_clean_passes_of_several_streams_in_one_batch() -> None:
    """Streams need not be at the same call: each row says for itself whether it advances."""
    alone, together = TinyCausal("float64"), TinyCausal("float64")
    expected = [stream(alone, [Controls()] * 4, seed) for seed in (1, 2)]
    assert len(expected) == 2
    latents = [each for each, _ in alone.kept]
    states = [together.start(StreamRequest(seed=seed)) for seed in (1, 2)]
    calls = len(together.chunk_steps.calls)
    now: list[tuple[Row | None, list[Tensor]]] = [(None, []), (None, [])]
    # The second stream is two calls behind the first one, and so in another chunk now and then.
    for turn in range(4 * calls + 2):
        rows: list[tuple[int, Row]] = []
        for k, state in enumerate(states):
            at = turn - 2 * k
            if not 0 <= at < 4 * calls:
                continue
            call = at % calls
            before, done = now[k]
            if call == 0:
                row = Row(together.prepare(state, Controls()), 0, None, state.caches[0])
            else:
                assert before is not None
                row = Row(before.plan, call, done[-1], state.caches[0])
            rows.append((k, row))
        made = together.denoise([row for _, row in rows])
        for (k, row), sample in zip(rows, made, strict=True):
            now[k] = row, [*now[k][1], sample]
            assert row.cache.position == LATENTS * (row.plan.index + (row.call == calls - 1))
    for k in range(2):
        clean = now[k][1][calls - 1 :: calls]
        for got, want in zip(clean, latents[4 * k : 4 * k + 4], strict=True):
            assert float((got - want).abs().max()) < 1e-12


@torch.inference_mode()
def test_a_clean_pass_gives_its_sample_back() -> None:
    model = TinyCausal()
    cache, context = model.new_cache(), model.context(torch.zeros(1, 5, 10))
    sample = torch.randn(1, LATENTS, 4, 4, 4)
    (back,) = call_rows(model.student, [CallRow(sample, context, NO_CONDITIONS, cache)])
    assert back is sample and cache.position == LATENTS


def batch(model: TinyCausal, rows: int, log: Sequence[Controls]) -> dict[str, list[Finished]]:
    """Streams s0.. of seeds 0.., each with the log, as many at a time as there are rows."""
    executor = Batched(model, rows)
    names = [f"s{k}" for k in range(rows)]
    for seed, name in enumerate(names):
        executor.open(name, StreamRequest(seed=seed))
    done: dict[str, list[Finished]] = {name: [] for name in names}
    for controls in log:
        for name in names:
            executor.submit(name, controls)
        for event in executor.poll(0.0):
            assert isinstance(event, Finished)
            done[event.stream].append(event)
    return done


@pytest.mark.parametrize(
    ("dtype", "limit"), [pytest.param("float32", 1e-4, marks=pytest.mark.long), ("float64", 1e-12)]
)
@pytest.mark.parametrize("rows", some_of([2, 3], 3))
def test_a_batch_makes_what_one_after_the_other_makes(rows: int, dtype: str, limit: float) -> None:
    """Within the rounding of the kind of number; see `test_diagonal` for its bound."""
    log = causal_log(12)
    together = TinyCausal(dtype)
    done = batch(together, rows, log)
    for k in range(rows):
        alone = TinyCausal(dtype)
        chunks = stream(alone, log, seed=k)
        assert [f.chunk.index for f in done[f"s{k}"]] == list(range(len(log)))
        for number, (want, _) in enumerate(alone.kept):
            got = together.kept[number * rows + k][0]
            assert float((got - want).abs().max() / want.abs().max()) < limit
        for finished, chunk in zip(done[f"s{k}"], chunks, strict=True):
            step = np.abs(finished.chunk.frames.astype(int) - chunk.frames)
            assert step.max() <= (0 if dtype == "float64" else 1)


def test_a_batch_of_one_is_sequential_bit_for_bit() -> None:
    log = causal_log(10)
    one, other = chunks_of(Batched(TinyCausal(), 4), log), chunks_of(Sequential(TinyCausal()), log)
    for a, b in zip(one, other, strict=True):
        assert np.array_equal(a.chunk.frames, b.chunk.frames)


def test_a_batch_makes_no_chunk_before_the_one_before_it() -> None:
    """A stream that is submitted twice, and more streams than rows: made in between."""
    executor = Batched(TinyCausal(), 2)
    for name in "abc":
        executor.open(name, StreamRequest(seed=1))
    for name in "aabc":
        executor.submit(name, Controls())
    events = executor.poll(0.0)
    assert [f"{e.stream}{e.chunk.index}" for e in events if isinstance(e, Finished)] == [
        "a0", "a1", "b0", "c0",
    ]  # fmt: skip


def test_a_batch_shows_nothing_of_what_was_dropped_and_has_the_same_past() -> None:
    model, expected = TinyCausal(), stream(TinyCausal(), [Controls()] * 3)
    executor = Batched(model, 2)
    executor.open("a", StreamRequest(seed=1))
    executor.submit("a", Controls())
    executor.drop("a")
    executor.drop("nobody")
    executor.submit("a", Controls())
    dropped, *done = executor.poll(0.0)
    assert dropped == Dropped("a", 0)
    executor.submit("a", Controls())
    done = [event for event in [*done, *executor.finish()] if isinstance(event, Finished)]
    assert [f.chunk.index for f in done] == [1, 2]
    assert all(np.array_equal(f.chunk.frames, expected[f.chunk.index].frames) for f in done)


def test_a_refused_stream_of_a_batch_is_lost_alone() -> None:
    executor = Batched(TinyCausal(), 2)
    executor.open("good", StreamRequest(seed=1))
    executor.open("bad", StreamRequest(seed=1, scene="mars"))
    executor.submit("good", Controls())
    executor.submit("bad", Controls())
    lost, finished = executor.poll(0.0)
    assert getattr(lost, "stream", None) == "bad" and isinstance(finished, Finished)
    assert finished.stream == "good"
    executor.submit("good", Controls())
    executor.close("good")
    assert executor.finish() == []


def test_the_diagonal_says_why_it_cannot_run_it() -> None:
    with pytest.raises(ValueError, match="1 caches for 5 calls: calls of different chunks can be"):
        Diagonal(TinyCausal())


def test_a_log_of_a_model_with_sound_is_none_of_its_own() -> None:
    """It has no scenes; what it refuses closes the stream and no other."""
    executor = Sequential(TinyCausal())
    executor.open("a", StreamRequest(seed=1, scene="sun"))
    with pytest.raises(ValueError, match="unknown scene 'sun'"):
        make_rest(executor)
    assert make_chunk(executor, "a", control_log(1)[0]) == []
