"""The diagonal batch makes what the steps one after the other make."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from rollcast.models.contract import Controls, StreamRequest
from rollcast.models.pipeline.diagonal import Diagonal
from rollcast.models.pipeline.executor import Executor, make_chunk, make_rest
from rollcast.models.pipeline.sequential import Sequential
from rollcast.models.staged_model import StagedModel

from .running import chunks_of
from .tiny import TinyModel, control_log

pytestmark = pytest.mark.slow

CHUNKS = 36


def run(executor: Executor, log: Sequence[Controls], seed: int = 1) -> list[np.ndarray]:
    """The latents of each chunk."""
    done = chunks_of(executor, log, seed)
    assert [finished.chunk.index for finished in done] == list(range(len(log)))
    return [finished.chunk.frames.reshape(-1).view(np.float32) for finished in done]


@pytest.fixture(scope="module")
def log() -> list[Controls]:
    return control_log(CHUNKS)


@pytest.fixture(scope="module")
def expected(log: list[Controls]) -> list[np.ndarray]:
    return run(Sequential(TinyModel()), log)


def test_the_tiny_model_is_a_staged_model_and_its_step_is_the_sequence_of_its_parts(
    log: list[Controls], expected: list[np.ndarray]
) -> None:
    model = TinyModel()
    assert isinstance(model, StagedModel)
    state = model.start(StreamRequest(seed=1))
    stepped = [model.step(state, controls).frames.reshape(-1).view(np.float32) for controls in log]
    assert all(map(np.array_equal, stepped, expected))


def test_the_events_of_the_log_change_the_picture(expected: list[np.ndarray]) -> None:
    plain = run(Sequential(TinyModel()), [Controls()] * CHUNKS)
    assert sum(map(np.array_equal, expected, plain)) <= 1


def test_diagonal_equals_sequential_within_rounding(
    log: list[Controls], expected: list[np.ndarray]
) -> None:
    """Products of a batch may be summed in another order: at most n * eps per product of n terms.

    Here n <= 432 (the stem) and a value passes some 40 of them, each step's error also enters the
    next step and, by the cache, five chunks: 1e-4 of the largest value is far above what was ever
    seen (1e-6) and far below any mistake in cache, noise or condition, which is of the size of 1.
    """
    got = run(Diagonal(TinyModel()), log)
    largest = max(float(np.abs(x).max()) for x in expected)
    errors = [float(np.abs(x - y).max()) / largest for x, y in zip(expected, got, strict=True)]
    assert max(errors) < 1e-4
    # what differs is rounding, for it does not grow with the stream
    assert max(errors[-10:]) <= 20 * max(errors[:20]) + 1e-7


def test_in_double_precision_they_agree_to_the_last_float32_digit(log: list[Controls]) -> None:
    expected = run(Sequential(TinyModel("float64")), log)
    got = run(Diagonal(TinyModel("float64")), log)
    for x, y in zip(expected, got, strict=True):
        np.testing.assert_allclose(x, y, rtol=3e-7, atol=1e-7)


def test_streams_are_each_as_if_alone(log: list[Controls]) -> None:
    executor = Diagonal(TinyModel())
    alone = {
        name: run(Diagonal(TinyModel()), log[:12], seed) for name, seed in (("a", 1), ("b", 2))
    }
    for name, seed in (("a", 1), ("b", 2)):
        executor.open(name, StreamRequest(seed=seed))
    done = [
        f for controls in log[:12] for name in "ab" for f in make_chunk(executor, name, controls)
    ]
    for finished in done + make_rest(executor):
        latents = finished.chunk.frames.reshape(-1).view(np.float32)
        assert np.array_equal(latents, alone[finished.stream][finished.chunk.index])


def test_a_chunk_comes_after_as_many_admissions_as_there_are_steps(log: list[Controls]) -> None:
    executor = Diagonal(TinyModel())
    executor.open("a", StreamRequest(seed=1))
    counts = [len(make_chunk(executor, "a", controls)) for controls in log[:6]]
    assert counts == [0, 0, 0, 1, 1, 1]
    assert len(executor.finish()) == 3
    make_chunk(executor, "a", log[0])
    executor.close("a")
    assert executor.finish() == []
