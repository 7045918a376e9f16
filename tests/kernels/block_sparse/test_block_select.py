"""Scores and choices of blocks against the same worked out with loops."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rollcast.kernels.block_sparse.block_list import BlockList, blocks_of
from rollcast.kernels.block_sparse.block_scores import pooled_scores, sample_tokens, sampled_scores
from rollcast.kernels.block_sparse.block_select import (
    block_boxes,
    select_energy,
    select_sliding_tiles,
    select_top_k,
)
from rollcast.kernels.block_sparse.choose_blocks import TokenPlaces, choose_blocks, sliding_tiles
from rollcast.kernels.block_sparse.sparse_policy import SparsePolicy


def energy_by_hand(row: list[float], energy: float, low: int, high: int) -> set[int]:
    order = sorted(range(len(row)), key=lambda block: -row[block])
    kept: set[int] = set()
    for block in order:
        if len(kept) >= high:
            break
        if sum(row[other] for other in kept) >= energy * sum(row) and len(kept) >= low:
            break
        kept.add(block)
    return kept


@settings(deadline=None, max_examples=60)
@given(
    blocks=st.integers(1, 12),
    energy=st.sampled_from((0.1, 0.5, 0.9, 1.0)),
    densities=st.tuples(st.floats(0, 1), st.floats(0.01, 1)).map(sorted),
    seed=st.integers(0, 999),
)
def test_energy_keeps_the_crossing_block(
    blocks: int, energy: float, densities: list[float], seed: int
) -> None:
    """Scores are multiples of 1 / 64, so that sums are exact and ties are frequent."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(0, 8, (1, 2, 3, blocks), generator=generator).double() / 64
    low, high = densities
    made = select_energy(scores, energy, min_density=low, max_density=high)
    most = max(1, int(high * blocks))
    least = min(most, max(1, -int(-(low * blocks) // 1)))
    for row, mask in zip(scores.flatten(0, 2), made.flatten(0, 2), strict=True):
        wanted = energy_by_hand(row.tolist(), energy, least, most)
        assert set(mask.nonzero()[:, 0].tolist()) == wanted


def test_energy_of_a_known_row() -> None:
    """0.5 + 0.3 is less than 0.85, so the third block is kept; a cap and a floor overrule."""
    scores = torch.tensor([[[[0.1, 0.5, 0.06, 0.3, 0.04]]]])
    select = select_energy(scores, 0.85, min_density=0.0, max_density=1.0)
    assert select.flatten().tolist() == [True, True, False, True, False]
    capped = select_energy(scores, 0.85, min_density=0.0, max_density=0.4)
    assert capped.flatten().tolist() == [False, True, False, True, False]
    floor = select_energy(scores, 0.01, min_density=0.8, max_density=1.0)
    assert floor.flatten().tolist() == [True, True, True, True, False]


def test_top_k_takes_the_earlier_of_equals() -> None:
    made = select_top_k(torch.tensor([[[[1.0, 3.0, 1.0, 2.0]]]]), 3)
    assert made.flatten().tolist() == [True, True, False, True]
    with pytest.raises(ValueError, match="5 blocks of 4"):
        select_top_k(torch.zeros(1, 1, 1, 4), 5)


@settings(deadline=None, max_examples=40)
@given(
    rows=st.integers(1, 5), blocks=st.integers(1, 9), seed=st.integers(0, 999), known=st.booleans()
)
def test_a_list_names_what_the_mask_has(rows: int, blocks: int, seed: int, known: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(1, 2, rows, blocks, generator=generator) < 0.4
    most = int(mask.sum(-1).max()) if known else None
    made = BlockList.from_mask(mask, 64, 64, most=most)
    for index, row in enumerate(mask.flatten(0, 2)):
        first, end = int(made.starts[index]), int(made.ends[index])
        assert made.blocks[first:end].tolist() == row.nonzero()[:, 0].tolist()


@pytest.mark.parametrize("sampled", [False, True], ids=["pooled", "sampled"])
def test_scores_are_shares_of_attention(sampled: bool) -> None:
    """Every token of a block the same: the estimate is the truth, a short last block included."""
    torch.manual_seed(0)
    query = torch.randn(1, 4, 3, 1, 8).expand(-1, -1, -1, 16, -1).flatten(2, 3)[:, :, :40]
    key = torch.randn(1, 2, 4, 1, 8).expand(-1, -1, -1, 16, -1).flatten(2, 3)[:, :, :53]
    made = (
        sampled_scores(query, key, 16, 16, samples=4, seed=3)
        if sampled
        else pooled_scores(query, key, 16, 16)
    )
    keys = key.repeat_interleave(2, dim=1)
    weights = (query @ keys.mT * 8**-0.5).softmax(-1)
    padded = torch.nn.functional.pad(weights, (0, 11)).unflatten(-1, (4, 16)).sum(-1)
    wanted = padded[:, :, ::16]
    torch.testing.assert_close(made, wanted, atol=1e-6, rtol=1e-5)


def test_samples_depend_on_the_seed_alone() -> None:
    where = torch.device("cpu")
    made = sample_tokens(150, 64, 16, 5, where)
    sample_tokens.cache_clear()
    torch.manual_seed(99)
    assert torch.equal(made, sample_tokens(150, 64, 16, 5, where))
    assert not torch.equal(made, sample_tokens(150, 64, 16, 6, where))
    assert made.shape == (3, 16) and int(made.max()) < 150
    assert torch.equal(made // 64, torch.arange(3)[:, None].expand(3, 16))
    with pytest.raises(ValueError, match="65 samples"):
        sample_tokens(150, 64, 65, 0, where)


def test_adaptive_finds_what_matters() -> None:
    """Keys that a block of queries points at are chosen, and the same at every call."""
    torch.manual_seed(1)
    key = torch.randn(1, 1, 10 * 64, 32)
    query = torch.randn(1, 1, 2 * 64, 32)
    key[:, :, 3 * 64 : 4 * 64] += key[:, :, 3 * 64 : 4 * 64].mean(2, keepdim=True) * 20
    query[:, :, :64] = key[:, :, 3 * 64 : 4 * 64].mean(2, keepdim=True)
    for samples in (0, 16):
        policy = SparsePolicy(
            query_block=64, samples=samples, energy=0.5, min_density=0.0, max_density=0.5
        )
        made = choose_blocks(query, key, policy)
        assert made.mask[0, 0, 0, 3]
        assert torch.equal(made.mask, choose_blocks(query, key, policy).mask)
        assert int(made.mask.sum(-1).max()) <= 5


@settings(deadline=None, max_examples=40)
@given(
    tokens=st.integers(1, 60),
    block=st.integers(1, 9),
    reach=st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 3)),
    seed=st.integers(0, 999),
)
def test_sliding_tiles_by_hand(
    tokens: int, block: int, reach: tuple[int, int, int], seed: int
) -> None:
    """Two blocks are near if on every axis some place of one is within reach of the other's box."""
    generator = torch.Generator().manual_seed(seed)
    places = torch.randint(0, 8, (tokens, 3), generator=generator)
    boxes = block_boxes(places, block)
    assert len(boxes) == blocks_of(tokens, block)
    made = select_sliding_tiles(boxes, boxes, reach)
    for i, one in enumerate(places.split(block)):
        for j, other in enumerate(places.split(block)):
            near = all(
                max(
                    int(one[:, axis].min() - other[:, axis].max()),
                    int(other[:, axis].min() - one[:, axis].max()),
                )
                <= reach[axis]
                for axis in range(3)
            )
            assert bool(made[i, j]) == near


def test_sliding_tiles_keep_the_sink() -> None:
    places = torch.stack((torch.arange(6 * 64) // 64, *torch.zeros(2, 6 * 64).long()), dim=1)
    policy = SparsePolicy("sliding_tiles", query_block=64, reach=(1, 0, 0))
    near = sliding_tiles(policy, TokenPlaces(places[-64:], places, sinks=65))
    assert near.tolist() == [[True, True, False, False, True, True]]
    with pytest.raises(ValueError, match="give near"):
        choose_blocks(torch.zeros(1, 1, 64, 8), torch.zeros(1, 1, 384, 8), policy)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"key_block": 32}, "128 x 32"),
        ({"energy": 0.0}, "energy 0.0"),
        ({"min_density": 0.5, "max_density": 0.2}, "min_density 0.5"),
        ({"samples": 100}, "samples 100"),
        ({"reach": (-1, 0, 0)}, "reach"),
    ],
)
def test_policies_that_make_no_sense_are_told(wrong: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        SparsePolicy(**wrong)  # type: ignore[arg-type]
