"""Chunks of the pocket model that leave something out, and those that follow them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rollcast.models.contract import FULL, Controls, Economy, StreamRequest
from rollcast.models.pipeline.batched import Batched
from rollcast.models.pipeline.diagonal import Diagonal
from rollcast.models.pipeline.events import Finished
from rollcast.models.pipeline.sequential import Sequential
from rollcast.models.pocket.audio import CHUNK_SAMPLES
from rollcast.models.pocket.config import SERVED_STEPS
from rollcast.models.pocket.model import PocketModel

ONE = Economy(steps=1)
HALF = Economy(frame_every=2)
BOTH = Economy(steps=1, frame_every=2)
PLAN = [FULL, ONE, BOTH, FULL, HALF, FULL]
REQUEST = StreamRequest(seed=4)


def log(plan: list[Economy]) -> list[Controls]:
    rng = np.random.default_rng(0)
    speech = (rng.standard_normal((len(plan), CHUNK_SAMPLES)) * 4000).astype(np.int16)
    return [Controls(audio=a, economy=each) for a, each in zip(speech, plan, strict=True)]


def frames(model: PocketModel, plan: list[Economy], state: Any = None) -> list[np.ndarray]:
    state = model.start(REQUEST) if state is None else state
    return [model.step(state, controls).frames for controls in log(plan)]


@pytest.mark.slow
def test_one_step_is_the_first_of_two_and_frames_are_repeated(model: PocketModel) -> None:
    assert model.info.economy == BOTH
    full, one = frames(model, [FULL] * 3), frames(model, [ONE] * 3)
    assert not np.array_equal(full[0], one[0])
    half, both = frames(model, [HALF] * 3), frames(model, [BOTH] * 3)
    for whole, repeated in ((full, half), (one, both)):
        for a, b in zip(whole, repeated, strict=True):
            # a batch of two frames is summed in another order than one of four
            assert np.abs(a[::2].astype(int) - b[::2]).max() <= 1
            assert np.array_equal(b[::2], b[1::2])
    assert np.array_equal(frames(model, [Economy(steps=9, frame_every=0)])[0], full[0])


@pytest.fixture(scope="module")
def whole(model: PocketModel) -> list[np.ndarray]:
    """The frames of the plan, chunk by chunk."""
    return frames(model, PLAN)


@pytest.mark.slow
def test_a_step_that_was_left_out_begins_anew_and_snapshots_know_it(
    model: PocketModel, whole: list[np.ndarray]
) -> None:
    state, saved = model.start(REQUEST), []
    for controls in log(PLAN):
        saved.append(model.snapshot(state))
        model.step(state, controls)
    first, second = state.caches
    assert (first.position, second.position) == (7, 4), "with the sink"
    for cut in (2, 3):
        state = model.restore(saved[cut])
        rest = [model.step(state, controls).frames for controls in log(PLAN)[cut:]]
        assert np.array_equal(rest, whole[cut:]), cut


@pytest.mark.parametrize("kind", [Sequential, Diagonal])
def test_executors_make_the_same_of_them(
    model: PocketModel, whole: list[np.ndarray], kind: Any
) -> None:
    executor = kind(model)
    executor.open("a", REQUEST)
    for controls in log(PLAN):
        executor.submit("a", controls)
    events = [*executor.poll(0.0), *executor.finish()]
    made = [each.chunk.frames for each in events if isinstance(each, Finished)]
    # products of a batch are summed in another order
    assert np.abs(np.array(made).astype(int) - np.array(whole)).max() <= 1


@pytest.mark.slow
def test_a_batch_may_have_some_that_leave_out_and_some_that_do_not(
    model: PocketModel, whole: list[np.ndarray]
) -> None:
    executor = Batched(model, 2)
    plans = {"a": PLAN, "b": [FULL] * len(PLAN)}
    for name in plans:
        executor.open(name, REQUEST)
    made: dict[str, list[np.ndarray]] = {name: [] for name in plans}
    for pair in zip(*(log(plan) for plan in plans.values()), strict=True):
        for name, controls in zip(plans, pair, strict=True):
            executor.submit(name, controls)
        for event in executor.poll(0.0):
            assert isinstance(event, Finished)
            made[event.stream].append(event.chunk.frames)
    for name, alone in {"a": whole, "b": frames(model, plans["b"])}.items():
        assert np.abs(np.array(alone).astype(int) - np.array(made[name])).max() <= 1, name


def test_with_one_step_there_is_none_to_leave_out(model: PocketModel, folder: Path) -> None:
    served = PocketModel(folder, steps=SERVED_STEPS)
    assert served.info.economy == Economy(steps=None, frame_every=2)
    assert len(served.start(REQUEST).caches) == 1
    for mine, of_two in zip(frames(served, [ONE] * 3), frames(model, [ONE] * 3), strict=True):
        assert np.array_equal(mine, of_two)


@pytest.mark.slow
def test_a_stream_goes_on_in_a_model_that_takes_another_number_of_steps(
    model: PocketModel, folder: Path
) -> None:
    served = PocketModel(folder, steps=SERVED_STEPS)
    one, two = served.start(REQUEST), model.start(REQUEST)
    for controls in log([ONE] * 2):
        served.step(one, controls)
        model.step(two, controls)
    # as if each had been told so all along
    for mine, own, other, plan in (
        (served, served.snapshot(one), model.snapshot(two), [FULL] * 2),
        (model, model.snapshot(two), served.snapshot(one), [ONE, FULL]),
    ):
        kept, moved = mine.restore(own), mine.restore(other)
        assert len(moved.caches) == mine.chunk_steps.steps
        for controls in log(plan):
            shown = mine.step(moved, controls).frames
            assert np.array_equal(shown, mine.step(kept, controls).frames)
