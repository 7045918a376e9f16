"""Caches in a pool are what they were: views, that grow with it and leave their place."""

from __future__ import annotations

import gc

import pytest
import torch
from torch import Tensor

from rollcast.models.student.cache_pool import CachePool
from rollcast.models.student.causal_student import CausalStudent, _row_by_row
from rollcast.models.student.config import CacheConfig, RopeFamily, StudentConfig
from rollcast.models.student.student_cache import StudentCache


def student(rope: RopeFamily) -> CausalStudent:
    torch.manual_seed(0)
    made = CausalStudent(
        StudentConfig(
            dim=64, ffn_dim=96, num_heads=2, num_layers=2, in_channels=4, out_channels=4,
            text_dim=8, text_len=3, freq_dim=64, rope=rope,
        )
    )  # fmt: skip
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    return made.eval()


def cache_of(made: CausalStudent, config: CacheConfig) -> StudentCache:
    return made.new_cache(config, height=4, width=4)


def test_places_are_taken_given_back_and_doubled() -> None:
    made, pool = student("slot"), CachePool()
    config = CacheConfig(window_frames=2, sink_frames=1)
    first = pool.seat(cache_of(made, config))
    first.layers[0].key.fill_(7)
    kept = [first] + [pool.seat(cache_of(made, config)) for _ in range(2)]
    assert pool.places == 4
    assert bool((first.layers[0].key == 7).all()), "what was there is copied"
    first.layers[1].value.fill_(3)
    assert bool((pool.values[1][0] == 3).all()), "and it is a view still"
    del kept[1]
    gc.collect()
    again = pool.seat(cache_of(made, config))
    assert again.layers[0].seat is not None and again.layers[0].seat.place == 1
    assert not again.layers[0].key.any() and pool.places == 4


@pytest.mark.parametrize(
    ("rope", "config"),
    [
        ("slot", CacheConfig(window_frames=3, sink_frames=1)),
        ("absolute", CacheConfig(window_frames=3, sink_frames=1)),
        ("absolute", CacheConfig(window_frames=3, sink_frames=1, bounded_sink=True)),
    ],
    ids=["raw keys", "turned keys", "a sink in reach"],
)
@pytest.mark.parametrize("gap", [False, True], ids=["places in a row", "places apart"])
@torch.no_grad()
def test_one_write_one_rotation_and_one_product_are_those_of_each_row(
    rope: RopeFamily, config: CacheConfig, gap: bool
) -> None:
    """Rows that stand anywhere in their rings, of one length; and some that are not."""
    torch.set_num_threads(1)
    made, pool = student(rope), CachePool()
    text = made.encode_text(torch.randn(1, 3, 8))
    pooled, alone = list[StudentCache](), list[StudentCache]()
    for row in range(3):
        pair = pool.seat(cache_of(made, config)), cache_of(made, config)
        if gap and row == 0:
            aside = pool.seat(cache_of(made, config))
        for _ in range(row + (0 if row < 2 else 6)):
            latents = torch.randn(1, 1, 4, 4, 4)
            for cache in pair:
                made(latents, torch.zeros(1, 1), text, cache)
                cache.advance(1)
        pooled.append(pair[0])
        alone.append(pair[1])
    worst = 0.0
    for _ in range(7):
        latents, times = torch.randn(3, 1, 4, 4, 4), torch.full((3, 1), 500.0)
        batch = made.forward_rows(latents, times, [text] * 3, pooled)
        each: list[Tensor] = []
        for row in range(3):
            each.append(made(latents[row : row + 1], times[:1], text, alone[row]))
            pooled[row].advance(1)
            alone[row].advance(1)
        wanted = torch.cat(each)
        worst = max(worst, float((batch - wanted).abs().max() / wanted.abs().max()))
    # float32 sums of a few hundred products in another order
    assert worst < 1.5e-6
    assert not gap or not aside.layers[0].key.any()


@torch.no_grad()
def test_what_frames_are_told_is_summed_alike_wherever_its_row_is() -> None:
    """Of 145 numbers a frame, in batches of any size; exactly as of one row alone."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    layer, frames = torch.nn.Linear(145, 192), torch.randn(8, 1, 145)
    alone = [layer(frame) for frame in frames.split(1)]
    for count in range(2, 9):
        batch = _row_by_row(layer, frames[:count])
        assert torch.equal(batch, torch.cat(alone[:count])), count
