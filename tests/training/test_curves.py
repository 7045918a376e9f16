"""Curves of training: logs of stopped runs, of changing columns, and the charts of them."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from training.curves import main, read_log


def test_what_was_made_again_counts_last(tmp_path: Path) -> None:
    log = tmp_path / "train.csv"
    log.write_text("step,error\n50,3\n100,2\n150,9\n100,2.5\n150,1\n200,nan\n")
    curves, misfits = read_log(log)
    assert curves == {"error": [(50, 3), (100, 2.5), (150, 1)]} and misfits == 0


def test_a_new_header_counts_and_rows_without_one_are_left_out(tmp_path: Path) -> None:
    log = tmp_path / "train.csv"
    log.write_text("step,latent\n50,3\n100,2,7\nstep,latent,pixels\n150,1,6\n")
    curves, misfits = read_log(log)
    assert curves == {"latent": [(50, 3), (150, 1)], "pixels": [(150, 6)]}
    assert misfits == 1


def test_each_stage_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = tmp_path / "student"
    stage.mkdir()
    (stage / "train.csv").write_text("step,lip,pixels\n50,.1,1\n100,.2,2\n100\n")
    (stage / "evaluate.csv").write_text("step,lip\n100,.3\n200,.4\n")
    monkeypatch.setattr(sys, "argv", ["curves", "--parts", str(tmp_path), "--out", str(tmp_path)])
    main()
    root = ElementTree.fromstring((tmp_path / "student.svg").read_text())
    titles = {text.text for text in root.findall(".//{*}text")}
    assert {"lip", "pixels"} <= titles, "a panel for each column"
    assert len(root.findall(".//{*}g[@id='axes_3']")) == 1
    assert not root.findall(".//{*}g[@id='axes_4']")
    assert "student: 1 rows do not fit" in capsys.readouterr().out


def test_no_logs_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["curves", "--parts", str(tmp_path)])
    with pytest.raises(SystemExit):
        main()
    assert "no logs of training" in capsys.readouterr().err
