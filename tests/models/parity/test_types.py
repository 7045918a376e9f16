"""Golden cases in other types: measured errors stay where they were measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from rollcast.models.parity.cases import run_case
from rollcast.models.wan.number_types import NumberTypes
from rollcast.server.cli.app import main

CASE = "self_forcing_tiny.json"


@pytest.mark.parametrize(
    ("types", "least", "most"),
    [
        # `benchmarks/types.json` has them for this case; half of it and twice as much are room for
        # other processors' sums
        (NumberTypes(torch.bfloat16), 0.011, 0.05),
        (NumberTypes(torch.float16), 0.002, 0.01),
        (NumberTypes(torch.float32, "int8"), 0.011, 0.05),
        (NumberTypes(torch.float32, "fp8"), 0.05, 0.2),
        (NumberTypes(torch.float32, "fp8-dynamic"), 0.066, 0.27),
        (NumberTypes(torch.float32, attention="int8"), 0.0009, 0.004),
    ],
)
def test_error_of_a_type(types: NumberTypes, least: float, most: float, fixtures: Path) -> None:
    report = run_case(fixtures / "golden" / CASE, types)
    assert least < report.max_difference / report.spread < most


@pytest.mark.parametrize(
    ("family", "name"),
    [("wan21_vae", "wan21_vae_seeded"), ("stream_diffusion_v2", "stream_diffusion_v2_tiny")],
)
def test_a_recording_of_another_kind_runs_in_its_own_types_alone(
    fixtures: Path, family: str, name: str
) -> None:
    with pytest.raises(ValueError, match=f"{family} run in the types of their record alone"):
        run_case(fixtures / "golden" / f"{name}.json", NumberTypes(torch.bfloat16))


@pytest.mark.slow
def test_the_command_tells_errors_in_shares(
    fixtures: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["parity", str(fixtures / "golden" / CASE), "--dtype", "bf16"])
    said = capsys.readouterr().out
    assert end.value.code == 0
    assert said.startswith("bfloat16  ") and "% of the spread)" in said
    with pytest.raises(SystemExit) as end:
        main(["bench", "types", str(fixtures / "golden" / CASE), "--out", str(tmp_path / "a.json")])
    assert end.value.code == 0
    (row,) = json.loads((tmp_path / "a.json").read_text()).values()
    assert row["bf16"]["first"] <= row["bf16"]["greatest"] < row["fp32, fp8 weights"]["greatest"]
