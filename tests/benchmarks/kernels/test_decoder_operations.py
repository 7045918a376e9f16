"""What a decoder asks of a GPU, counted without one; the figures are those of docs/kernels.md."""

from __future__ import annotations

import pytest

from rollcast.benchmarks.kernels import decoder_operations
from rollcast.benchmarks.kernels.decoder_operations import DECODERS, decoder_count, main
from rollcast.models.wan.presets.catalogue import preset_named


@pytest.mark.parametrize(
    ("name", "operations", "gigabytes"), [("Wan 2.1", 168, 47), ("tiny, Wan 2.1", 118, 8)]
)
def test_it_stays_within_what_the_docs_say(name: str, operations: int, gigabytes: int) -> None:
    preset, config = DECODERS[name]
    count, shown = decoder_count(preset_named(preset), config)
    assert count.operations <= operations
    assert count.bytes + count.launch_bytes < gigabytes * 1e9
    norms = count.launches["norm_silu"], count.launches["sum_norm_silu"]
    assert norms == ((19, 10) if name == "Wan 2.1" else (0, 0))
    assert count.launches["yuv420"] == 1
    assert count.uploads == 0
    assert shown == 12 * 480 * 832 * 3 // 2


def test_each_decoder_has_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    few = {name: DECODERS[name] for name in ("tiny, Wan 2.1", "tiny, Wan 2.2")}
    monkeypatch.setattr(decoder_operations, "DECODERS", few)
    assert main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == list(few)
    assert "7.2 MB to the host" in lines[0]
