"""What a chunk with a thin window asks for: two launches more a layer and call, and less work."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("triton")

from rollcast.benchmarks.kernels.chunk_operations import HOPPER, chunk_row
from rollcast.benchmarks.kernels.sparse_chunk import attention_work
from rollcast.kernels.block_sparse.sparse_policy import SparsePolicy
from rollcast.models.wan.presets.catalogue import preset_named

from ...variants import some_of

QUARTER = SparsePolicy("top_k", max_density=0.25, global_branch=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", some_of(["reward-forcing", "longlive"], "longlive"))
def test_a_thin_chunk_launches_two_more_a_layer_and_call(name: str) -> None:
    """And a few once a call: the order of tokens, and of the rotations."""
    preset = preset_named(name)
    sparse = replace(preset, cache=replace(preset.cache, sparse=QUARTER))
    layers, calls = 2, len(preset.recipe.chunk_steps().calls)
    dense_row, sparse_row = (chunk_row(each, HOPPER, layers=layers) for each in (preset, sparse))
    more = sparse_row["operations"] - dense_row["operations"]
    assert 2 * layers * calls <= more <= 2 * layers * calls + 5 * calls
    launches = sparse_row["launches"]
    for kernel in ("block_pool", "block_select", "block_sparse", "norm_rope_write"):
        assert launches[kernel] == layers * calls
    assert launches.get("key_rotation", 0) == dense_row["launches"].get("key_rotation", 0)
    assert not sparse_row["blocking_uploads"]


def test_work_is_that_of_the_roofline() -> None:
    """60.6 TFLOP a chunk of Wan 1.3B with nine frames, as docs/kernels.md has it."""
    preset = preset_named("reward-forcing")
    dense, quarter = attention_work(preset, None), attention_work(preset, QUARTER)
    assert dense.flop == pytest.approx(60.6e12, rel=2e-3)
    assert quarter.flop == pytest.approx(dense.flop / 4, rel=0.03)
    assert quarter.read == pytest.approx(dense.read / 4, rel=0.03)
    means = attention_work(preset, replace(QUARTER, global_branch=True))
    assert quarter.flop < means.flop < dense.flop / 3
    assert quarter.choosing < means.choosing < dense.read / 20
