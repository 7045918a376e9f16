"""Recipes of published families: their steps, their chunks, and what does not go together."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from rollcast.models.sampling.euler import EulerSchedule
from rollcast.models.sampling.recipe import Recipe
from rollcast.models.sampling.renoise import Renoise
from rollcast.models.sampling.unipc import UniPC

STEPS = (1000, 750, 500, 250)


def test_steps_can_be_others_of_any_number() -> None:
    """Looked up, as they are, or counted, as samplers do; a cache for each where there is one."""
    two = Recipe(chunk_frames=3, steps=STEPS).with_steps((1000, 500))
    assert two.timesteps(0) == two.timesteps(3) == (1000.0, 833.3333129882812)
    assert [call.clean_pass for call in two.chunk_steps().calls] == [False, False, True]
    six = two.with_steps((1000, 900, 700, 500, 300, 100))
    assert len(six.chunk_steps().calls) == 7
    plain = Recipe(chunk_frames=3, steps=(700, 500), warp=False, caching="each_step")
    assert plain.with_steps((700.5, 400, 99)).timesteps() == (700.5, 400.0, 99.0)
    assert plain.with_steps((600,)).chunk_steps().caches == 1
    assert plain.with_steps((700, 500, 300)).chunk_steps().caches == 3
    unipc = Recipe(chunk_frames=8, steps=(1, 2, 3, 4), sampler="unipc").with_steps((1000, 500))
    assert len(unipc.sampler_for(0, torch.randn_like).timesteps) == 2


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        ((), "got none; expected falling"),
        ((500, 1000), "got 500, 1000; expected falling"),
        ((1000, 1000), "expected falling"),
        ((1200, 500), "in 0..1000"),
        ((1000, 0), "not 0"),
        ((1000, 499.5), "whole numbers"),
        ((float("nan"), 500), "expected falling"),
    ],
)
def test_steps_that_cannot_be_are_told(steps: tuple[float, ...], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Recipe(chunk_frames=3, steps=STEPS).with_steps(steps)


def test_a_joint_window_keeps_its_steps() -> None:
    with pytest.raises(ValueError, match="they are fixed"):
        Recipe(chunk_frames=3, steps=STEPS, sampler="joint").with_steps((1000, 500))


def test_the_first_chunk_may_have_steps_of_its_own() -> None:
    recipe = Recipe(chunk_frames=3, steps=(1000, 500), first_steps=STEPS)
    assert recipe.timesteps(0) == (1000.0, 937.5, 833.3333129882812, 625.0)
    assert recipe.timesteps(1) == recipe.timesteps(40) == (1000.0, 833.3333129882812)
    assert len(recipe.sampler_for(0, torch.randn_like).timesteps) == 4
    assert len(recipe.sampler_for(1, torch.randn_like).timesteps) == 2
    assert Recipe(chunk_frames=3, steps=STEPS).timesteps(0) == recipe.timesteps(0)


def test_lists_that_are_not_warped() -> None:
    recipe = Recipe(chunk_frames=3, steps=(1000, 757, 522), shift=8.0, warp=False)
    assert recipe.timesteps() == (1000.0, 757.0, 522.0)


@pytest.mark.parametrize(
    ("first", "frames", "wanted"),
    [
        (None, 6, [(0, 3), (3, 6)]),
        (1, 7, [(0, 1), (1, 4), (4, 7)]),
        (1, 1, [(0, 1)]),
        (None, 4, [(0, 3), (3, 6)]),
    ],
)
def test_chunks(first: int | None, frames: int, wanted: list[tuple[int, int]]) -> None:
    recipe = Recipe(chunk_frames=3, steps=STEPS, first_frames=first)
    assert [(chunk.start, chunk.stop) for chunk in recipe.chunks(frames)] == wanted


def test_samplers() -> None:
    live = Recipe(chunk_frames=3, steps=STEPS, shift=6.0, shifted_twice=True, whole_times=True)
    sampler = live.sampler_for(0, torch.randn_like)
    assert isinstance(sampler, Renoise)
    assert sampler.timesteps == (1000.0, 947.0, 858.0, 671.0)
    longlive = Recipe(chunk_frames=8, steps=STEPS, sampler="unipc")
    assert isinstance(longlive.sampler_for(5, torch.randn_like), UniPC)
    joint = Recipe(chunk_frames=3, steps=STEPS, sampler="joint")
    with pytest.raises(ValueError, match="roll_window"):
        joint.sampler_for(0, torch.randn_like)


def test_calls_of_a_chunk() -> None:
    """Of the chunk that takes most of them, and which of them another chunk makes."""
    first = Recipe(chunk_frames=1, steps=(1000, 500), first_steps=STEPS, context_timestep=30.0)
    calls = first.chunk_steps().calls
    assert [call.timestep for call in calls] == pytest.approx([1000, 937.5, 2500 / 3, 625, 30])
    assert [call.clean_pass for call in calls] == [False] * 4 + [True]
    assert first.step_of_call(0) == (0, 1, 2, 3)
    assert first.step_of_call(3) == (0, None, 1, None)
    joint = Recipe(chunk_frames=3, steps=STEPS, sampler="joint")
    assert joint.chunk_steps().caches == 1 and joint.chunk_steps().steps == 4
    assert (joint.step_of_call(0), joint.step_of_call(1)) == ((0, 1, 2, 3), (0, None, None, None))
    apart = Recipe(3, (700, 500), shift=8.0, warp=False, caching="each_step").chunk_steps()
    assert (apart.caches, apart.steps, len(apart.calls)) == (2, 2, 2)
    euler = Recipe(3, STEPS, sampler="euler", shift=3.0, caching="each_step").chunk_steps()
    schedule = EulerSchedule.shifted_twice(4, 3.0)
    assert tuple(call.timestep for call in euler.calls) == schedule.timesteps


def test_a_first_step_may_be_elsewhere() -> None:
    recipe = Recipe(3, (700, 500), shift=8.0, warp=False, caching="each_step")
    assert recipe.sampler_for(4, torch.randn_like, 640.0).timesteps == (640.0, 500.0)
    with pytest.raises(ValueError, match="begins with noise alone"):
        Recipe(8, STEPS, sampler="unipc").sampler_for(0, torch.randn_like, 640.0)


def test_through_json() -> None:
    recipe = Recipe(chunk_frames=3, steps=(1000, 500), first_steps=STEPS, clean_expert=True)
    plain = {k: list(v) if isinstance(v, tuple) else v for k, v in recipe.to_dict().items()}
    assert Recipe.from_dict(plain) == recipe


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"chunk_frames": 0}, "at least one frame"),
        ({"first_frames": 0}, "at least one frame"),
        ({"steps": ()}, "steps are empty"),
        ({"sampler": "unipc", "first_steps": STEPS}, "do not go with 'unipc'"),
        ({"sampler": "joint", "whole_times": True}, "do not go with 'joint'"),
        ({"sampler": "joint", "first_frames": 1}, "joint window"),
        ({"sampler": "joint", "clean_expert": True}, "joint window"),
        ({"caching": "each_step", "clean_expert": True}, "need a pass"),
        ({"caching": "each_step", "sampler": "joint"}, "need a pass"),
        ({"caching": "each_step", "first_steps": STEPS}, "a cache for each step"),
    ],
)
def test_what_does_not_go_together(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recipe(**({"chunk_frames": 3, "steps": STEPS} | fields))
