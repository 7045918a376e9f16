"""Options that are off by default through dispatch on `meta`, and what they launch."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("triton")

from rollcast.benchmarks.kernels.chunk_operations import HOPPER, MetaStream
from rollcast.benchmarks.kernels.compile_cases import compile_cases
from rollcast.benchmarks.kernels.operation_count import counted
from rollcast.benchmarks.kernels.option_cases import (
    IN_8_BITS,
    POLICIES,
    can_be_thin,
    option_launches,
)
from rollcast.benchmarks.kernels.preset_cases import FIRST_CHUNKS, cases_of, preset_launches
from rollcast.kernels.gpu import Capability
from rollcast.models.wan.presets.catalogue import preset_named
from rollcast.models.wan.presets.preset import Preset

from ...variants import some_of

pytestmark = pytest.mark.slow

AMPERE = (8, 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "capability",
    [pytest.param(AMPERE, id="sm_80", marks=pytest.mark.long), pytest.param(HOPPER, id="sm_90")],
)
@pytest.mark.parametrize("name", some_of(["reward-forcing", "longlive"], "longlive"))
def test_kernels_of_options_are_in_the_gate(name: str, capability: Capability) -> None:
    launches = option_launches(preset_named(name), capability)
    kernels = {launch.kernel.__name__ for launch in launches}
    served = {launch.kernel.__name__ for launch in preset_launches(preset_named(name), capability)}
    assert kernels - served <= {case.kernel.__name__ for case in compile_cases()}
    assert {"block_pool_kernel", "block_select_kernel", "block_sparse_kernel"} <= kernels
    assert {"int8_keys_kernel", "int8_attention_kernel", "norm_rope_write_kernel"} <= kernels
    assert ("row_scale_kernel" in kernels) == (capability >= (8, 9))


def thin(name: str) -> Preset:
    preset = preset_named(name)
    return replace(preset, cache=replace(preset.cache, sparse=POLICIES[0]))


@pytest.mark.parametrize("name", some_of(["reward-forcing", "longlive"], "longlive"))
@pytest.mark.parametrize("option", ["thin", "8 bits"])
def test_no_variant_of_an_option_is_new_after_the_warm_up(name: str, option: str) -> None:
    preset = preset_named(name)
    stream = (
        MetaStream(thin(name), layers=1)
        if option == "thin"
        else MetaStream(preset, layers=1, types=IN_8_BITS)
    )
    seen: list[set[str]] = []
    with counted(HOPPER):
        context = stream.context()
    for _ in range(2 * preset.cache.capacity_frames // preset.recipe.chunk_frames + 2):
        with counted(HOPPER) as count:
            stream.make_chunk(context)
        seen.append({case.name for case in cases_of(count.seen)})
        assert not count.uploads
    assert set().union(*seen[FIRST_CHUNKS:]) <= set().union(*seen[:FIRST_CHUNKS])


def test_who_cannot_have_a_thin_window() -> None:
    assert can_be_thin(preset_named("self-forcing"))
    for name in ("live-avatar", "stream-diffusion-v2", "rolling-forcing"):
        assert not can_be_thin(preset_named(name))
        with pytest.raises(ValueError, match=r"sparse|dense|no other rule"):
            thin(name)
