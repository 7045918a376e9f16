"""`rollcast bench pipeline`: the forecast needs no machine, mistakes are named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rollcast.server.cli.app import main


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["bench", "pipeline", *arguments])
    return int(end.value.code or 0)


def test_the_forecast_is_that_of_the_published_pipeline(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run("--simulate", "--json", "--link-ms", "0", "--out", str(tmp_path / "f.json")) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["full"]["stages"] for row in rows] == [1, 2, 3, 4, 5]
    assert rows[4]["full"]["fps"] == pytest.approx(45.2, rel=0.01)
    assert rows[4]["paced"]["latency_s"] == pytest.approx(1.21, abs=0.01)
    assert json.loads((tmp_path / "f.json").read_text()) == rows


def test_a_forecast_says_what_is_too_slow(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--simulate", "--sessions", "2", "--step-ms", "200") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "too slow" in lines[1] and "too slow" not in lines[5]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--stages", "two"), "--stages 1,2,3"),
        (("--model", "nope"), "known: pocket"),
        (("--model", "test-pattern"), "cannot be run in stages"),
    ],
)
def test_mistakes_are_named(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("error: ") and message in shown and "Traceback" not in shown
