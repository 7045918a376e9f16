"""Every preset through dispatch on `meta`, and what it launches as compile cases."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton")

from rollcast.benchmarks.kernels.chunk_operations import MetaStream
from rollcast.benchmarks.kernels.compile_cases import compile_cases
from rollcast.benchmarks.kernels.operation_count import counted
from rollcast.benchmarks.kernels.preset_cases import (
    FIRST_CHUNKS,
    cases_of,
    different_presets,
    preset_launches,
)
from rollcast.kernels.gpu import Capability, meta_stands_for
from rollcast.kernels.launch import Launch
from rollcast.kernels.modulation.modulation import modulate
from rollcast.kernels.tile.tile_sizes import MAX_HEAD_DIM, TENSOR_CORE_TYPES
from rollcast.models.wan.presets.catalogue import preset_named, presets
from rollcast.models.wan.presets.preset import Preset

from ...variants import some_of

HOPPER, AMPERE = (9, 0), (8, 0)
MUCH_ALIKE = (
    "causal-forcing-1-step",
    "causal-forcing-2-step",
    "live-avatar-3-step",
    "sgf-plus-framewise",
    "stream-diffusion-v2-14b",
)
"""Presets whose calls are those of another one with other lengths, sizes or times."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "capability",
    [pytest.param(AMPERE, id="sm_80", marks=pytest.mark.long), pytest.param(HOPPER, id="sm_90")],
)
@pytest.mark.parametrize(
    "preset",
    some_of(
        different_presets(), *(each for each in different_presets() if each.name not in MUCH_ALIKE)
    ),
    ids=lambda preset: preset.name,
)
def test_every_preset_goes_through_dispatch(preset: Preset, capability: Capability) -> None:
    """Student, conditioning and VAE: only what a kernel is made for reaches it.

    An operator that asks the device for a value raises on `meta`, so there is none in a chunk.
    """
    launches = preset_launches(preset, capability)
    kernels = {launch.kernel.__name__ for launch in launches}
    assert "residual_norm_kernel" in kernels
    for launch in launches:
        if launch.kernel.__name__ in ("ring_attention_kernel", "block_sparse_kernel"):
            assert launch.arguments["DIM"] <= MAX_HEAD_DIM
            assert launch.arguments["Query"].dtype in TENSOR_CORE_TYPES
    # the same attention is cuDNN's on Hopper
    assert ("ring_attention_kernel" in kernels) == (capability == AMPERE)
    known = {case.kernel.__name__ for case in compile_cases()}
    assert kernels <= known, "the gate has no budget for a kernel that is served"


ROUND = ["self-forcing", "reward-forcing", "longlive", "sgf-plus", "longlive-2"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "capability"),
    [
        *((name, HOPPER) for name in ("reward-forcing", "longlive-2", "rolling-forcing")),
        *(
            pytest.param(name, HOPPER, marks=pytest.mark.long)
            for name in ("self-forcing", "longlive", "sgf-plus")
        ),
        *(pytest.param(name, AMPERE, marks=pytest.mark.long) for name in ROUND),
    ],
)
def test_no_variant_is_new_after_the_warm_up(name: str, capability: Capability) -> None:
    """While the window fills, comes round and goes on: else Triton would compile in mid-stream."""
    preset = preset_named(name) if name in presets() else different_presets()[-1]
    stream = MetaStream(preset, layers=1)
    seen: list[list[Launch]] = []
    with counted(capability):
        context = stream.context()
    for _ in range(2 * preset.cache.capacity_frames // preset.recipe.chunk_frames + 2):
        with counted(capability) as count:
            stream.make_chunk(context)
        seen.append(count.seen)
    assert names(seen[FIRST_CHUNKS:]) <= names(seen[:FIRST_CHUNKS])
    assert names(seen[:FIRST_CHUNKS])


def names(chunks: Sequence[Sequence[Launch]]) -> set[str]:
    return {case.name for launches in chunks for case in cases_of(launches)}


def test_a_variant_is_what_triton_compiles_for(tmp_path: Path) -> None:
    """Alignment, ones and constants make another variant; a counter does not."""

    def variant(rows: int, width: int, frames: int = 1) -> set[str]:
        x = torch.empty(1, rows, width, device="meta", dtype=torch.bfloat16)
        shift = torch.empty(1, frames, 1, width, device="meta", dtype=torch.bfloat16)
        with counted(HOPPER) as count:
            modulate(x, shift, shift, 1e-6)
        return {case.name for case in cases_of(count.seen)}

    assert variant(96, 64) == variant(96, 64)
    assert variant(96, 64) != variant(96, 65)
    assert variant(96, 64) != variant(96, 64, frames=2)


def test_a_question_to_the_device_is_caught() -> None:
    """The planted regression: a value that the host waits for."""
    stream = MetaStream(preset_named("longlive"), layers=1)

    def asks(part: object, given: tuple[torch.Tensor, ...]) -> None:
        float(given[0].abs().max())

    stream.student.wan_blocks()[0].cross_attn.register_forward_pre_hook(asks)
    with counted(HOPPER), pytest.raises((RuntimeError, NotImplementedError)):
        stream.make_chunk(stream.context())


def test_meta_stands_for_a_gpu_only_inside() -> None:
    from rollcast.kernels.dispatch import backend_for

    x = torch.empty(2, device="meta", dtype=torch.bfloat16)
    assert backend_for(x) == "sdpa"
    with meta_stands_for(HOPPER):
        assert backend_for(x) == "triton"
        assert backend_for(torch.empty(2)) == "sdpa"
    assert backend_for(x) == "sdpa"


def test_presets_that_differ_in_weights_alone_are_walked_once() -> None:
    walked = different_presets()
    assert len({preset.name for preset in walked}) == len(walked) <= len(presets())
    for preset in presets().values():
        assert any(
            replace(preset, name="", title="", about="", weights=other.weights, speed="").student
            == other.student
            for other in walked
        )


@pytest.mark.long
@pytest.mark.timeout(600)
def test_what_a_preset_launches_compiles(tmp_path: Path) -> None:
    """The cheapest of them, by the gate itself."""
    done = subprocess.run(
        [
            sys.executable, "-m", "rollcast.benchmarks.kernels.gpu_compile", "--presets",
            "--targets", "90", "--kernels", "rms_norm", "--out", str(tmp_path / "rows.json"),
        ],
        env=os.environ | {"TRITON_INTERPRET": "0"},
        capture_output=True,
        text=True,
        timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert rows and all(row["kernel"] == "rms_norm_kernel" and not row["spills"] for row in rows)
