"""`rollcast parity`: golden cases pass, and a changed case fails with exit code 1."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rollcast.server.cli.app import main

CASES = sorted((Path(__file__).parents[2] / "fixtures" / "golden").glob("longlive*.json"))


def parity(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["parity", *arguments])
    return int(end.value.code or 0)


def test_a_golden_case_passes_chunk_by_chunk(capsys: pytest.CaptureFixture[str]) -> None:
    assert parity(str(CASES[0]), "--json") == 0
    (report,) = json.loads(capsys.readouterr().out)
    assert report["passed"]
    assert max(report["chunk_differences"]) <= report["tolerance"]


def test_a_tighter_tolerance_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = json.loads(CASES[0].read_text())
    (tmp_path / case["tensors"]).write_bytes((CASES[0].parent / case["tensors"]).read_bytes())
    (tmp_path / "tight.json").write_text(json.dumps(case | {"tolerance": -1.0}))
    assert parity(str(tmp_path / "tight.json")) == 1
    shown = capsys.readouterr().out
    assert shown.startswith("FAIL")
    assert "chunk 0:" in shown


def test_a_case_that_cannot_run_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "odd.json").write_text('{"family": "nobody"}')
    assert parity(str(tmp_path / "odd.json")) == 1
    assert "nobody" in capsys.readouterr().out
