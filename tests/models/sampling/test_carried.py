"""A sampler's memory travels behind the latents: call by call is a chunk in one piece."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from rollcast.models.sampling.batches import CallRow, call_rows
from rollcast.models.sampling.carried import carried, taken_apart
from rollcast.models.sampling.denoising import sample_chunk
from rollcast.models.sampling.recipe import Recipe
from rollcast.models.sampling.sampler import NoiseSource, SamplerMemory
from rollcast.models.student.causal_student import NO_CONDITIONS, CausalStudent
from rollcast.models.student.config import CacheConfig

StudentMaker = Callable[..., CausalStudent]
CACHE = CacheConfig(window_frames=6, sink="none")
RECIPES = {
    "renoise": Recipe(2, (1000, 750, 500)),
    "unipc": Recipe(2, (1, 2, 3, 4), sampler="unipc"),
    "euler": Recipe(2, (1, 2, 3), sampler="euler", shift=3.0),
}


def in_turn(noise: Tensor) -> NoiseSource:
    fresh = iter(noise)
    return lambda _: next(fresh)


@pytest.mark.parametrize("kind", RECIPES)
@torch.inference_mode()
def test_call_by_call_is_a_chunk_in_one_piece(kind: str, make_student: StudentMaker) -> None:
    student, recipe = make_student(), RECIPES[kind]
    context = student.encode_text(torch.ones(1, 5, 10))
    whole, apart = (student.new_cache(CACHE, height=4, width=4) for _ in range(2))
    for seed in range(3):
        noise = torch.randn(4, 1, 2, 4, 4, 4, generator=torch.Generator().manual_seed(seed))
        wanted = sample_chunk(
            student, whole, noise[0], recipe.sampler_for(seed, in_turn(noise[1:])), context
        )
        sampler, travels = recipe.sampler_for(seed, in_turn(noise[1:])), noise[0]
        for step in range(len(sampler.timesteps)):
            memory: SamplerMemory = {}
            if step:
                travels, memory = taken_apart(travels, sampler, step - 1)
            row = CallRow(
                travels, context, NO_CONDITIONS, apart, sampler, step, memory, advances=False
            )
            (latents,) = call_rows(student, [row])
            travels = carried(latents, memory, sampler, step).clone()
            assert travels.shape[1] == 2 * (1 + len(sampler.remembers(step)))
        call_rows(student, [CallRow(travels, context, NO_CONDITIONS, apart)])
        assert torch.equal(travels, wanted)
    for one, other in zip(whole.layers, apart.layers, strict=True):
        assert torch.equal(one.key, other.key)


def test_what_is_not_remembered_does_not_travel() -> None:
    latents: Tensor = torch.randn(1, 2, 3, 4, 4)
    sampler = RECIPES["unipc"].sampler_for(0, torch.randn_like)
    memory = {name: torch.full_like(latents, k) for k, name in enumerate(sampler.remembers(1))}
    assert list(memory) == ["sample", "latents", "older_sample"]
    back, kept = taken_apart(carried(latents, memory, sampler, 1), sampler, 1)
    assert torch.equal(back, latents)
    assert all(torch.equal(kept[name], memory[name]) for name in memory)
    assert carried(latents, memory, sampler, 3) is latents, "behind the last step it is the chunk"
