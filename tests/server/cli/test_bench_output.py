"""A report that took minutes to measure is not lost for a file that cannot be written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rollcast.server.cli.bench_output import give
from rollcast.server.cli.failure import Failure


def test_a_report_goes_into_its_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not give({"fps": 25}, as_json=False, out=tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text()) == {"fps": 25}
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["", "none/a.json", "x" * 300, "full"])
def test_a_file_that_cannot_be_written_gets_its_report_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / "full").symlink_to("/dev/full")
    with pytest.raises(Failure, match="cannot write"):
        give({"fps": 25}, as_json=False, out=tmp_path / name)
    assert json.loads(capsys.readouterr().out) == {"fps": 25}
