"""What a chunk asks of a GPU, counted: it may become less, and more only on purpose."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton")

from rollcast.benchmarks.kernels.chunk_operations import MetaStream, chunk_row, main
from rollcast.benchmarks.kernels.operation_count import counted
from rollcast.models.student.config import CacheConfig
from rollcast.models.wan.presets.catalogue import preset_named

pytestmark = pytest.mark.slow

HOPPER = (9, 0)
CALLS = 5


def operations(name: str, layers: int) -> int:
    """Of a chunk of a stream whose window is full."""
    return chunk_row(preset_named(name), HOPPER, layers=layers)["operations"]


@pytest.mark.parametrize(
    ("name", "a_layer", "beside"),
    [
        # 12 a layer and call: product, norm with RoPE and write, attention, product, norm; product,
        # attention with its norm and product for the text; norm; two products; norm.
        ("longlive", 12 * CALLS, 13 * CALLS),
        # and once a chunk, of all layers, the sink is folded, and past keys are turned
        ("reward-forcing", 12 * CALLS, 13 * CALLS + 2),
    ],
)
def test_operations_of_a_chunk(name: str, a_layer: int, beside: int) -> None:
    one, two = operations(name, 1), operations(name, 2)
    assert two - one == a_layer
    assert 2 * one - two <= beside


def test_a_sink_close_by_costs_a_launch_a_chunk() -> None:
    """It is turned to its new places, of all layers at once; the fused path is kept."""
    rows = [
        chunk_row(
            replace(
                preset_named("longlive"),
                cache=CacheConfig(window_frames=9, sink_frames=3, bounded_sink=bounded),
            ),
            HOPPER,
            layers=2,
        )
        for bounded in (False, True)
    ]
    assert rows[1]["operations"] == rows[0]["operations"] + 1
    assert rows[1]["launches"]["key_rotation"] == 1
    assert rows[1]["launches"]["norm_rope_write"] == 2 * CALLS


def test_nothing_is_uploaded_that_is_waited_for() -> None:
    assert chunk_row(preset_named("longlive"), HOPPER, layers=1)["blocking_uploads"] == 0
    with counted(HOPPER) as count:
        torch.zeros(4).to("meta")
    assert count.uploads == 1


def test_views_and_memory_are_free_and_the_cpu_is_not_counted() -> None:
    x = torch.empty(4, 4, device="meta")
    with counted(HOPPER) as count:
        _ = x.t().view(4, 4)[1:].unsqueeze(0)
        torch.empty_like(x)
        _ = torch.ones(3) + torch.ones(3)
        assert not count.operations
        _ = x + x
    assert count.operators == {"add": 1} and count.bytes == 3 * 64


def test_a_report_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "rows.json"
    assert main(["--only", "longlive", "--layers", "1", "--out", str(file)]) == 0
    (row,) = json.loads(file.read_text())
    assert row["preset"] == "longlive" and row["layers"] == 1 and row["launches"]["modulate"] == 5
    assert "longlive" in capsys.readouterr().out


def test_packed_projections_are_one_product() -> None:
    preset = preset_named("longlive")
    rows = []
    for pack in (False, True):
        stream = MetaStream(preset, layers=1, pack=pack)
        with counted(HOPPER):
            context = stream.context()
        with counted(HOPPER) as count:
            stream.make_chunk(context)
        rows.append(count.operators["addmm"])
    assert rows[0] - rows[1] == 2 * CALLS
