"""Streams of every kind of recipe: cut anywhere and gone on with, alone or beside others."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from rollcast.models.sampling.chunk_maker import ChunkMaker, ChunkStream, Prompt
from rollcast.models.sampling.recipe import Recipe
from rollcast.models.student.causal_student import CausalStudent
from rollcast.models.student.config import CacheConfig

StudentMaker = Callable[..., CausalStudent]
TEXT = torch.ones(1, 5, 10)


@dataclass(frozen=True)
class Kind:
    """A family on a small scale."""

    recipe: Recipe
    cache: CacheConfig
    student: dict[str, Any]

    def maker(self, make: StudentMaker) -> ChunkMaker:
        expert = make(seed=1, **self.student) if self.recipe.clean_expert else None
        return ChunkMaker(make(seed=0, **self.student), self.recipe, self.cache, expert)


WINDOW = CacheConfig(window_frames=4, sink_frames=2)
KINDS = {
    "self_forcing": Kind(Recipe(2, (1000, 500)), WINDOW, {}),
    "causal_forcing": Kind(Recipe(1, (1000,), (1000, 500)), WINDOW, {}),
    "first_frame_alone": Kind(Recipe(2, (1000, 500), first_frames=1), WINDOW, {"rope": "slot"}),
    "sgf_plus": Kind(
        Recipe(2, (1000, 500), clean_expert=True),
        WINDOW,
        {"rope": "top_aligned", "trained_frames": 8},
    ),
    "longlive2": Kind(
        Recipe(2, (0, 1, 2), sampler="unipc"),
        CacheConfig(window_frames=4, sink_frames=2, pinned_frames=2),
        {},
    ),
    "rolling_forcing": Kind(
        Recipe(2, (1000, 800, 400), sampler="joint"),
        CacheConfig(window_frames=8, sink_frames=2, bounded_sink=True, reach_frames=10),
        {},
    ),
}


def step(maker: ChunkMaker, stream: ChunkStream, prompt: Prompt, call: int) -> Tensor | None:
    """Chunk `call` of a stream whose randomness is that of its number; a cut at 3."""
    generator = torch.Generator().manual_seed(call)

    def draw(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator)

    if call == 3 and stream.cache.config.pinned_frames:
        stream.cache.begin_shot(2.0)
    noise = draw(torch.zeros(1, maker.next_frames(stream), 4, 4, 4))
    return maker.next(stream, noise, prompt, renoise=draw)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("cut", [1, 2, 4])
def test_a_saved_stream_goes_on_alike(make_student: StudentMaker, name: str, cut: int) -> None:
    maker = KINDS[name].maker(make_student)
    prompt = maker.encode(TEXT)
    whole, first = (maker.start(height=4, width=4) for _ in range(2))
    wanted = [step(maker, whole, prompt, call) for call in range(6)]
    for call in range(cut):
        step(maker, first, prompt, call)
    tensors = {name: tensor.clone() for name, tensor in first.tensors().items()}
    plain = json.loads(json.dumps(first.metadata()))
    second = maker.start(height=4, width=4)
    step(maker, second, prompt, 77)
    second.load(tensors, plain)
    for call in range(cut, 6):
        made = step(maker, second, prompt, call)
        if made is None or wanted[call] is None:
            assert made is wanted[call] is None
        else:
            assert torch.equal(made, torch.as_tensor(wanted[call]))
    assert second.metadata() == whole.metadata()
    assert all(torch.equal(t, whole.tensors()[n]) for n, t in second.tensors().items())


@pytest.mark.parametrize("name", KINDS)
def test_streams_of_a_maker_know_nothing_of_each_other(
    make_student: StudentMaker, name: str
) -> None:
    maker = KINDS[name].maker(make_student)
    prompt, other = maker.encode(TEXT), maker.encode(-TEXT)
    alone, beside, third = (maker.start(height=4, width=4) for _ in range(3))
    wanted = [step(maker, alone, prompt, call) for call in range(5)]
    for call in range(5):
        step(maker, third, other, call + 50)
        made = step(maker, beside, prompt, call)
        if made is not None:
            assert torch.equal(made, torch.as_tensor(wanted[call]))


def test_given_latents_count_as_no_chunk(make_student: StudentMaker) -> None:
    """The first chunk that is generated behind them has the steps of a first one, and no frame
    alone."""
    recipe = Recipe(2, (1000,), (1000, 500, 250), first_frames=1)
    maker = ChunkMaker(make_student(), recipe, WINDOW)
    prompt = maker.encode(TEXT)
    stream = maker.start(height=4, width=4)
    maker.give(stream, torch.randn(1, 3, 4, 4, 4), prompt)
    assert (stream.cache.position, stream.chunks, maker.next_frames(stream)) == (3, 0, 2)
    drawn: list[Tensor] = []

    def renoise(like: Tensor) -> Tensor:
        drawn.append(like)
        return torch.randn_like(like)

    for _ in range(2):
        maker.next(stream, torch.randn(1, 2, 4, 4, 4), prompt, renoise=renoise)
    # Two between the three steps of the first chunk, none in the second.
    assert len(drawn) == 2


def test_an_expert_writes_what_is_given(make_student: StudentMaker) -> None:
    maker = KINDS["sgf_plus"].maker(make_student)
    prompt = maker.encode(TEXT)
    stream, by_hand = (maker.start(height=4, width=4) for _ in range(2))
    latents = torch.randn(1, 2, 4, 4, 4)
    maker.give(stream, latents, prompt)
    assert maker.expert is not None and prompt.clean is not None
    maker.expert(latents, torch.zeros(1, 2), prompt.clean, by_hand.cache)
    for name, tensor in by_hand.cache.tensors().items():
        assert torch.equal(stream.cache.tensors()[name], tensor)


def test_misuse_is_told(make_student: StudentMaker) -> None:
    student = make_student()
    plain, joint = KINDS["self_forcing"], KINDS["rolling_forcing"]
    with pytest.raises(ValueError, match="clean_expert False, and expert True"):
        ChunkMaker(student, plain.recipe, WINDOW, student)
    with pytest.raises(ValueError, match="clean_expert True, and expert False"):
        ChunkMaker(student, KINDS["sgf_plus"].recipe, WINDOW)
    with pytest.raises(ValueError, match="reach_frames None"):
        ChunkMaker(student, joint.recipe, WINDOW)
    with pytest.raises(ValueError, match="reach_frames 10"):
        ChunkMaker(student, plain.recipe, joint.cache)
    maker = plain.maker(make_student)
    stream, prompt = maker.start(height=4, width=4), maker.encode(TEXT)
    with pytest.raises(ValueError, match="noise of 3 frames; the next chunk has 2"):
        maker.next(stream, torch.randn(1, 3, 4, 4, 4), prompt)
    with pytest.raises(ValueError, match="no noise"):
        maker.next(stream, None, prompt)
    expert = KINDS["sgf_plus"].maker(make_student)
    with pytest.raises(ValueError, match="expert's context"):
        expert.next(expert.start(height=4, width=4), torch.randn(1, 2, 4, 4, 4), prompt)
    rolling = joint.maker(make_student)
    with pytest.raises(ValueError, match="takes no latents"):
        rolling.give(rolling.start(height=4, width=4), torch.randn(1, 2, 4, 4, 4), prompt)
