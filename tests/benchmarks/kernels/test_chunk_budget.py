"""An estimate of a chunk's time: what it counts, and that it follows from that alone."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("triton")

from rollcast.benchmarks.kernels.chunk_budget import RATES, chunk_budget, main
from rollcast.models.wan.presets.catalogue import preset_named


@pytest.mark.slow
def test_it_counts_the_products_of_the_roofline() -> None:
    """Of Wan 1.3B: 60.6 TFLOP of attention to nine frames, 58.5 of products, 2.2 for the text."""
    row = chunk_budget(preset_named("reward-forcing"))
    for name, rates in RATES.items():
        parts = row["ms"][name]
        assert parts["attention"] * rates.attention / 1e3 == pytest.approx(60.6, rel=0.01)
        assert parts["products"] * rates.products / 1e3 == pytest.approx(58.5, rel=0.01)
        assert parts["text"] * rates.text / 1e3 == pytest.approx(2.2, rel=0.01)
        assert parts["sum"] == pytest.approx(sum(v for k, v in parts.items() if k != "sum"), abs=1)
    assert row["operations"]["student"] <= 1900


@pytest.mark.long
def test_the_command_tells_of_both_decoders(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "reward-forcing", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == 4 and {row["types"] for row in rows} == {"bf16", "fp8-dynamic"}
    tiny, full = rows[0]["ms"], rows[2]["ms"]
    assert all(tiny[name]["sum"] < full[name]["sum"] for name in RATES)
    # the whole decoder is 40.7 TFLOP
    assert full["reached"]["convolutions"] * 273 / 1e3 == pytest.approx(40.7, rel=0.03)
