"""Streams of the toy world whose chunks are one batch: each is what it would be alone."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from copy import copy

import numpy as np
import pytest
import torch
from torch import Tensor

from rollcast.models.contract import Controls, StreamRequest
from rollcast.models.pipeline.messages import Refused, Restore
from rollcast.models.pipeline.stage_plan import StagePlan
from rollcast.models.staged_model import Row, StagedModel
from rollcast.models.toy_world.config import SINKS
from rollcast.models.toy_world.model import ToyWorldModel

from ..pipeline.one_stage import OneStage

ALONE = StagePlan((tuple(range(5)),), 0)
# float32 sums of a few hundred products in another order
CLOSE = 1.5e-6
NAMES, CHUNKS = "abcdefgh", 11


class Watched(ToyWorldModel):
    """Keeps each chunk's latents by its noise; `refused` is the scene of which no batch is made."""

    def __init__(self) -> None:
        self.made: dict[int, Tensor] = {}
        self.sizes: list[int] = []
        self.refused: str | None = None
        super().__init__()

    def denoise(self, rows: Sequence[Row], *, fill: int = 1) -> list[Tensor]:
        self.sizes.append(max(fill, len(rows)))
        made = super().denoise(rows, fill=fill)
        if len(rows) > 1 and rows[0].call == 2:
            for row in rows:
                if row.plan.plain["scene"] == self.refused:
                    raise ValueError("no such sink in batches")
        for row, latents in zip(rows, made, strict=True):
            self.made[row.plan.noise_seed] = latents
        return made


@functools.cache
def loaded(dtype: torch.dtype) -> Watched:
    assert torch.get_default_dtype() == dtype
    return Watched()


def watched() -> Watched:
    """One of the loaded weights, with what it keeps of its own."""
    model = copy(loaded(torch.get_default_dtype()))
    model.made, model.sizes = {}, []
    return model


def stage(names: str = NAMES, refused: str | None = None) -> OneStage[Watched]:
    """With a stream for each letter, one sink after another."""
    made = OneStage(watched(), ALONE)
    made.model.refused = refused
    scenes = list(SINKS)
    for name in names:
        number = NAMES.index(name)
        made.open(**{name: StreamRequest(seed=number, scene=scenes[number % 4])})
    return made


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    torch.set_num_threads(1)
    with torch.inference_mode():
        yield


@pytest.fixture
def in_float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize("rows", [2, pytest.param(8, marks=pytest.mark.long)])
def test_a_batch_is_what_its_rows_are_alone(rows: int) -> None:
    """Of all sinks at once, over as many chunks as fill a window three times.

    In float64, for a film of this world is another one soon whose first pictures differ a little.
    """
    names, apart = NAMES[-rows:], list[float]()
    together, alone = stage(names), stage(names)
    for chunk in range(CHUNKS):
        told = _told(names, chunk)
        done = together.batch(told)
        assert {each.rows for each in done} == {rows if chunk else 1}
        for name, controls in told.items():
            alone.alone(name, controls)
            apart.append(_apart(_last(together, name), _last(alone, name)))
    assert 0 < max(apart) < 1e-11, max(apart)


@pytest.mark.parametrize("rows", [2, pytest.param(8, marks=pytest.mark.slow)])
def test_each_step_is_as_close_as_sums_in_another_order_are(rows: int) -> None:
    """And each clean pass, with the same past and the same latents before it.

    What the trained weights make of rounding grows now and then: a row alone is up to 3e-6 from
    what float64 gives, and no batch is farther from it than that.
    """
    model, names = watched(), NAMES[-rows:]
    steps, keys = list[float](), list[float]()
    requests = [StreamRequest(seed=k, scene=list(SINKS)[k % 4]) for k in range(rows)]
    states = [model.start(request) for request in requests]
    caches = [state.caches[0] for state in states]
    others = [model.new_cache() for _ in names]
    for chunk in range(CHUNKS):
        told = _told(names, chunk).values()
        plans = [model.prepare(state, each) for state, each in zip(states, told, strict=True)]
        latents: list[Tensor | None] = [None] * rows
        for call in range(len(model.chunk_steps.calls)):
            ones = list(map(Row, plans, [call] * rows, latents, others))
            made = [model.denoise([row])[0] for row in ones]
            latents[:] = model.denoise(list(map(Row, plans, [call] * rows, latents, caches)))
            steps += [_apart(a, b) for a, b in zip(latents, made, strict=True) if a is not None]
            for cache, other in zip(caches, others, strict=True):
                layers = zip(cache.layers, other.layers, strict=True)
                keys += [_apart(a.key, b.key) for a, b in layers]
                other.load(cache.tensors(), cache.metadata())
    assert max(steps) > 0 and np.quantile(steps, 0.99) < CLOSE, sorted(steps)[-9:]
    assert max(*steps, *keys) < 5e-6


def _told(names: str, chunk: int) -> dict[str, Controls]:
    """The last one another prompt with every chunk."""
    told = dict.fromkeys(names, Controls())
    told[names[-1]] = Controls(prompt=("brisk cold", "dizzy", "calm warm")[chunk % 3])
    return told


def _apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max() / other.abs().max())


def test_bits_depend_on_how_many_rows_there_are_and_on_nothing_else() -> None:
    """Beside others of other sinks, at another place, and alone filled up with copies."""
    made: list[Tensor] = []
    for names in ("cab", "hgc"):
        several = stage(names)
        for _ in range(7):
            several.batch(dict.fromkeys(names, Controls()))
        made.append(_last(several, "c"))
    lone = stage("c")
    lone.alone("c", Controls())
    for _ in range(6):
        lone.alone("c", Controls(), rows=3)
    made.append(_last(lone, "c"))
    assert all(torch.equal(each, made[0]) for each in made)
    assert lone.model.sizes[-1] == several.model.sizes[-1] == 3


def test_of_a_batch_that_fails_each_is_made_as_if_alone() -> None:
    """What has left for the averages of the past by then is in them once."""
    names = "acd"
    failing, quiet = stage(names), stage(names)
    for _ in range(6):
        for each in (failing, quiet):
            each.batch(dict.fromkeys(names, Controls()))
    failing.model.refused = "static"
    done = failing.batch(dict.fromkeys(names, Controls()))
    assert [(each.stream, each.rows) for each in done] == [(name, 1) for name in names]
    for name in names:
        quiet.alone(name, Controls())
    for _ in range(2):
        for name in names:
            assert torch.equal(_last(failing, name), _last(quiet, name))
            failing.alone(name, Controls())
            quiet.alone(name, Controls())


def test_what_is_refused_is_one_streams_alone() -> None:
    names = "ab"
    running = stage(names)
    running.batch(dict.fromkeys(names, Controls()))
    done = running.batch({"a": Controls(scene="moon"), "b": Controls()})
    assert [each.stream for each in done] == ["b"]
    refused = [each for each in running.heart.sent if isinstance(each, Refused)]
    assert [each.stream for each in refused] == ["a"]


def test_another_stage_goes_on_from_its_parts() -> None:
    """Each with the sink that it had; a new scene begins with another on the same cache."""
    names = "abcd"
    before, behind = stage(names), OneStage(watched(), ALONE)
    for chunk in range(6):
        told = dict.fromkeys(names, Controls())
        told["a"] = Controls(scene="ema .9" if chunk == 1 else None)
        before.batch(told, small=chunk == 5)
    for name in names:
        behind.stage._do(Restore(name, 6, before.heart.parts(name), small=True))
    for _ in range(3):
        ones, others = (each.batch(dict.fromkeys(names, Controls())) for each in (before, behind))
        assert [each.rows for each in ones] == [4] * 4
        for one, other in zip(ones, others, strict=True):
            assert one.chunk is not None and one.chunk.frames is not None
            assert other.chunk is not None and other.chunk.frames is not None
            assert np.array_equal(one.chunk.frames, other.chunk.frames)


def test_it_can_be_taken_apart_and_makes_batches() -> None:
    model = watched()
    assert isinstance(model, StagedModel) and model.batches
    assert model.chunk_steps.caches == 1 and model.chunk_steps.calls[-1].clean_pass


def _last(of: OneStage[Watched], stream: str) -> Tensor:
    """The latents of its latest chunk."""
    kept = of.streams[stream]
    generator = torch.Generator().manual_seed(kept.state.seed)
    seeds = [int(torch.randint(2**62, (), generator=generator)) for _ in range(kept.next_index)]
    return of.model.made[seeds[-1]]
