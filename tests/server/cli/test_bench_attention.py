"""`rollcast bench attention`: a small run on this CPU, and mistakes that are named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from rollcast.server.cli.app import main

SMALL = ("--blocks", "10", "--queries", "64", "--heads", "1", "--head-dim", "16", "--rounds", "1")


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["bench", "attention", *arguments])
    return int(end.value.code or 0)


@pytest.fixture(autouse=True)
def same_threads():
    """The command sets the number of threads of the process."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_the_report_has_what_was_asked_for(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "attention.json"
    assert run(*SMALL, "--device", "cpu", "--json", "--out", str(out)) == 0
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads(out.read_text())
    assert report["device"].startswith("cpu")
    assert (report["keys"], report["window"]["keys"]) == (640, 160)
    assert set(report["sparse"]) == set(report["with_selection"]) == {"0.5", "0.75", "0.9"}
    assert set(report["backends"]) == {"sdpa", "reference"}
    ratios = [report["window"]["speedup_vs_dense"], *report["sparse"].values()]
    assert all(ratio > 0 for ratio in ratios)


def test_it_is_shown_to_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*SMALL, "--device", "cpu") == 0
    shown = capsys.readouterr().out
    assert "sparse  90%" in shown and "window of 160" in shown


@pytest.mark.parametrize("device", ["tpu", *([] if torch.cuda.is_available() else ["cuda"])])
def test_a_device_that_is_not_here_is_named(
    capsys: pytest.CaptureFixture[str], device: str
) -> None:
    assert run(*SMALL, "--device", device) != 0
    said = capsys.readouterr().err
    assert f"device {device!r}" in said and "cpu" in said
