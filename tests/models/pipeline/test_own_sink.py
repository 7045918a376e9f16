"""A sink that becomes the stream's own first latent (AAS), in all executors and without a drain."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from rollcast.models.contract import Controls, StreamRequest
from rollcast.models.parity.avatar import avatar_blocks
from rollcast.models.pipeline.diagonal import Diagonal
from rollcast.models.pipeline.events import Finished
from rollcast.models.pipeline.executor import Executor, make_chunk, make_rest
from rollcast.models.pipeline.messages import ModelSpec
from rollcast.models.pipeline.pipeline import Pipeline
from rollcast.models.pipeline.sequential import Sequential
from rollcast.models.pipeline.snapshot_parts import load_returns
from rollcast.models.pipeline.stage_plan import StagePlan, choose_plan

from ...variants import some_of
from .running import OFTEN, PATIENT, Shared, chunks_of, saved
from .tiny import control_log
from .tiny_avatar import TinyAvatar

pytestmark = pytest.mark.processes

CASE = Path(__file__).parents[2] / "fixtures" / "golden" / "liveavatar_tiny.json"
CHUNKS = 52


def log_of(chunks: int) -> list[Controls]:
    """Prompts, speech, scenes, seeds and resets while chunks are under way."""
    names = {"sun": "recorded", "moon": "other", None: None}
    return [replace(c, scene=names[c.scene], tracks=()) for c in control_log(chunks)]


def run(executor: Executor, log: Sequence[Controls], seed: int = 1) -> list[np.ndarray]:
    """The latents of each chunk [1, 3, 16, 8, 8]."""
    done = chunks_of(executor, log, seed)
    assert [finished.chunk.index for finished in done] == list(range(len(log)))
    return [latents(finished) for finished in done]


def latents(finished: Finished) -> np.ndarray:
    return finished.chunk.frames.reshape(-1).view(np.float32).reshape(1, 3, 16, 8, 8)


@pytest.fixture(scope="module")
def model() -> TinyAvatar:
    return TinyAvatar(str(CASE))


@pytest.fixture(scope="module")
def expected(model: TinyAvatar) -> list[np.ndarray]:
    return run(Sequential(model), log_of(CHUNKS))


@pytest.fixture(scope="module")
def shared() -> Iterator[Shared]:
    spec = ModelSpec("tiny_avatar:TinyAvatar", {"case": str(CASE)})
    shared = Shared(lambda: Pipeline(spec, 5, patience=PATIENT, snapshot_share=OFTEN))
    yield shared
    shared.stop()


@pytest.fixture
def stages(shared: Shared) -> Iterator[Pipeline]:
    with shared.lent() as pipeline:
        yield pipeline


@torch.inference_mode()
def test_the_recorded_blocks_come_out_until_the_sink_changes(model: TinyAvatar) -> None:
    """Published output, from an executor; from block 4 on what the published change would give."""
    made = run(Sequential(model), [Controls()] * 6, seed=0)
    case: dict[str, Any] = json.loads(CASE.read_text())
    tensors = {
        k: v
        for e in ("weights", "inputs", "outputs")
        for k, v in load_file(CASE.parent / case[e]).items()
    }
    swapped = avatar_blocks(case | {"sink_swap_at_block": 4}, tensors)
    for block, own in enumerate(made):
        got = torch.from_numpy(own[0]).transpose(0, 1)
        assert float((got - swapped[block][-1]).abs().max()) < 2e-6
        published = float((got - tensors[f"block{block}_x0"]).abs().max())
        assert published < 2e-6 if block < 4 else published > 1e-3


# one has all parts, five part all that can be; what is between hands on as these do
@pytest.mark.parametrize("stages_wanted", some_of([5, 1, 2, 3, 4], 5))
def test_the_pipeline_is_equal_bit_for_bit(
    stages: Pipeline, expected: list[np.ndarray], stages_wanted: int
) -> None:
    assert stages.costs is not None
    stages.assign(choose_plan(stages_wanted, stages.costs))
    made = run(stages, log_of(CHUNKS))
    assert all(map(np.array_equal, made, expected))


def test_the_diagonal_is_equal_within_rounding(
    model: TinyAvatar, expected: list[np.ndarray]
) -> None:
    """As in `test_diagonal`: rounding of float32, which does not grow."""
    largest = max(float(np.abs(x).max()) for x in expected)
    made = run(Diagonal(model), log_of(CHUNKS))
    errors = [float(np.abs(x - y).max()) / largest for x, y in zip(made, expected, strict=True)]
    assert max(errors) < 1e-4, max(errors)


def test_latents_on_their_way_back_survive_a_lost_stage(
    stages: Pipeline, expected: list[np.ndarray]
) -> None:
    """A new seed comes with chunk 44: its latents go to 48, and a snapshot is taken behind 47."""
    log = log_of(CHUNKS)
    assert log[44].seed is not None
    stages.assign(StagePlan(((0,), (1, 2), (3,), ()), 3))
    stages.open("a", StreamRequest(seed=1))
    done = [finished for controls in log[:48] for finished in make_chunk(stages, "a", controls)]
    done += make_rest(stages)
    start = saved(stages, "a")
    assert start.next_index == 48
    returns = start.parts["returns"]
    assert isinstance(returns, memoryview), "too small to be shared"
    assert list(load_returns(returns)) == [48]
    os.kill(stages.pids[2], signal.SIGKILL)
    for controls in log[48:]:
        stages.submit("a", controls)
    end_s = time.monotonic() + 60
    while len(done) < CHUNKS:
        assert time.monotonic() < end_s
        done += [event for event in stages.poll(0.05) if isinstance(event, Finished)]
    stages.close("a")
    assert stages.restarts == 1
    assert all(map(np.array_equal, map(latents, done), expected))


def test_latents_that_are_needed_too_soon_are_refused() -> None:
    for executor in (Sequential, Diagonal):
        with pytest.raises(ValueError, match="needed by 3; with 4 calls"):
            run(executor(TinyAvatar(str(CASE), early=1)), [Controls()])
