"""Published models with other denoising steps than their own: fewer, more, a cache for each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rollcast.models.contract import FULL, Controls, Economy, StreamRequest
from rollcast.models.pipeline.diagonal import Diagonal
from rollcast.models.pipeline.events import Finished
from rollcast.models.pipeline.sequential import Sequential
from rollcast.models.registry import load_model

from ..conftest import PROMPTS, SIZE, FolderOf
from ..running import frames

REQUEST = StreamRequest(seed=3, prompt=PROMPTS[0])


def model_with(folder_of: FolderOf, name: str, steps: tuple[float, ...] | None) -> Any:
    return load_model(name, weights=[str(folder_of(name))], size=SIZE, threads=1, steps=steps)


def test_two_steps_are_two_calls_and_a_clean_pass(folder_of: FolderOf) -> None:
    """They stream, they resume bit for bit, and they are other pictures than those of four."""
    two, own = (model_with(folder_of, "self-forcing", steps) for steps in ((1000, 500), None))
    same = model_with(folder_of, "self-forcing", (1000, 750, 500, 250))
    assert [call.clean_pass for call in two.chunk_steps.calls] == [False, False, True]
    assert [call.timestep for call in two.chunk_steps.calls[:2]] == pytest.approx([1000, 833.333])
    assert (two.info.economy.steps, own.info.economy.steps) == (1, 2)
    assert replace(two.info, economy=own.info.economy) == own.info
    states = {model: model.start(REQUEST) for model in (two, own, same)}
    first = {model: model.step(state, Controls()) for model, state in states.items()}
    assert not np.array_equal(first[two].frames, first[own].frames)
    assert np.array_equal(first[same].frames, first[own].frames)
    again = two.restore(two.snapshot(states[two]))
    switch = Controls(prompt=PROMPTS[1])
    assert np.array_equal(two.step(states[two], switch).frames, two.step(again, switch).frames)


def test_a_chunk_in_need_takes_fewer_steps_as_a_model_of_fewer_would(folder_of: FolderOf) -> None:
    """Its steps are those of a list of fewer; the first chunk takes all, and so do later ones."""
    two, own = (model_with(folder_of, "self-forcing", steps) for steps in ((1000, 500), None))
    need = Controls(economy=Economy(steps=1))
    plain, told = own.start(REQUEST), own.start(REQUEST)
    first = own.step(plain, Controls()).frames, own.step(told, need).frames
    assert np.array_equal(*first)
    own.step(plain, Controls())
    # what a model of two steps makes of the same past, its noise drawn for the same calls
    state = two.restore(own.snapshot(told))
    noise = two._calls._noise
    two._calls._noise = lambda plan, call, shape: noise(plan, 2 * call, shape)
    made = own.step(told, need).frames
    assert np.array_equal(made, two.step(state, Controls()).frames)
    again = own.restore(own.snapshot(told))
    after = own.step(told, Controls()).frames
    assert np.array_equal(after, own.step(again, Controls()).frames)
    assert not np.array_equal(after, own.step(plain, Controls()).frames)


@pytest.mark.parametrize("name", ["causal-forcing-2-step", "rolling-forcing"])
def test_what_cannot_leave_steps_out_takes_them_all(folder_of: FolderOf, name: str) -> None:
    model = model_with(folder_of, name, None)
    assert model.info.economy == FULL
    made = []
    for controls in (Controls(), Controls(economy=Economy(steps=1))):
        state = model.start(REQUEST)
        made.append(frames([model.step(state, controls) for _ in range(2)]))
    assert np.array_equal(made[0], made[1])


@pytest.mark.parametrize("steps", [(700, 500, 300), (600,)], ids=["three", "one"])
def test_each_step_has_a_cache_and_they_may_run_at_once(
    folder_of: FolderOf, steps: tuple[float, ...]
) -> None:
    """The stages of a pipeline are the steps: as many as there are, and the decoder."""
    model = model_with(folder_of, "stream-diffusion-v2", steps)
    assert model.chunk_steps.caches == len(steps)
    assert model.chunk_steps.most_stages == len(steps) + 1
    video = np.random.default_rng(0).integers(0, 255, (40, *SIZE[::-1], 3), np.uint8)
    log = [Controls(video=video[:5]), *(Controls(video=video[k : k + 4]) for k in range(5, 25, 4))]
    made = []
    for executor in (Sequential(model), Diagonal(model)):
        executor.open("a", StreamRequest(seed=1))
        for controls in log:
            executor.submit("a", controls)
        events = [*executor.poll(0.0), *executor.finish()]
        chunks = [each.chunk for each in events if isinstance(each, Finished)]
        made.append(frames(chunks).astype(int))
    # products of a batch are summed in another order
    assert np.abs(made[0] - made[1]).max() <= 1


def test_steps_that_cannot_be_name_the_option(folder_of: FolderOf) -> None:
    with pytest.raises(ValueError, match="--steps of self-forcing: got 500, 1000"):
        model_with(folder_of, "self-forcing", (500, 1000))
    with pytest.raises(ValueError, match="not among those of the first chunk"):
        model_with(folder_of, "causal-forcing-2-step", (900, 500))
    with pytest.raises(ValueError, match="they are fixed"):
        model_with(folder_of, "rolling-forcing", (1000, 500))
    with pytest.raises(ValueError, match="no use for steps"):
        load_model("test-pattern", steps=(1000, 500))
