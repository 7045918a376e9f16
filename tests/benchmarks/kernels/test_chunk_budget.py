"""An estimate of a chunk's time: what it counts, and that it follows from that alone."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

pytest.importorskip("triton")

from rollcast.benchmarks.kernels.chunk_budget import (
    RATES,
    chunk_budget,
    graphs_of,
    layers_part,
    main,
    student_part,
)
from rollcast.benchmarks.kernels.chunk_operations import HALF
from rollcast.models.student.blocks import Block
from rollcast.models.wan.presets.catalogue import preset_named
from rollcast.models.wan.presets.preset import Preset

pytestmark = pytest.mark.slow

# Of a chunk of 12 frames of Wan 1.3B at 480x832, in milliseconds by the rates that are published.
MOST_MS = {"tiny, Wan 2.1": 240, "Wan 2.1": 330}
MOST_OPERATIONS = 1900
GRAPHS = 4


@pytest.fixture(scope="module")
def preset() -> Preset:
    return preset_named("reward-forcing")


def test_it_counts_the_products_of_the_roofline(preset: Preset) -> None:
    """Of Wan 1.3B: 60.6 TFLOP of attention to nine frames, 58.5 of products, 2.2 for the text."""
    row = chunk_budget(preset)
    for name, rates in RATES.items():
        parts = row["ms"][name]
        assert parts["attention"] * rates.attention / 1e3 == pytest.approx(60.6, rel=0.01)
        assert parts["products"] * rates.products / 1e3 == pytest.approx(58.5, rel=0.01)
        assert parts["text"] * rates.text / 1e3 == pytest.approx(2.2, rel=0.01)
        assert parts["sum"] == pytest.approx(sum(v for k, v in parts.items() if k != "sum"), abs=1)


@pytest.mark.parametrize("decoder", MOST_MS)
def test_a_chunk_stays_within_its_budget(preset: Preset, decoder: str) -> None:
    """The sum of all parts: a change for the worse anywhere exceeds it."""
    row = chunk_budget(preset, decoder=decoder)
    assert row["ms"]["published"]["sum"] <= MOST_MS[decoder]
    assert row["operations"]["student"] <= MOST_OPERATIONS


def test_a_stream_needs_so_many_graphs(preset: Preset) -> None:
    assert graphs_of(preset) == GRAPHS


def test_layers_are_alike(preset: Preset) -> None:
    """What three of them ask for follows from one and two."""
    few = replace(preset, student=replace(preset.student, num_layers=3))
    assert student_part(few) == layers_part(preset, HALF, 3)


def test_a_copy_too_many_exceeds_the_budget(
    preset: Preset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted regression: each layer copies what its feed-forward is given."""
    feed_forward = Block._feed_forward
    monkeypatch.setattr(Block, "_feed_forward", lambda self, x: feed_forward(self, x.clone()))
    student_part.cache_clear()
    try:
        row = chunk_budget(preset, decoder="Wan 2.1")
    finally:
        student_part.cache_clear()
    assert row["ms"]["published"]["sum"] > MOST_MS["Wan 2.1"]
    assert row["operations"]["student"] > MOST_OPERATIONS


@pytest.mark.long
def test_the_command_tells_of_both_decoders(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "reward-forcing", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == 4 and {row["types"] for row in rows} == {"bf16", "fp8-dynamic"}
    tiny, full = rows[0]["ms"], rows[2]["ms"]
    assert all(tiny[name]["sum"] < full[name]["sum"] for name in RATES)
    # the whole decoder is 40.7 TFLOP
    assert full["reached"]["convolutions"] * 273 / 1e3 == pytest.approx(40.7, rel=0.03)
