"""Strangers are drawn by a checkout; where they cannot be, it is said why and what to do."""

from pathlib import Path

import pytest

from rollcast.benchmarks.quality import strangers
from rollcast.benchmarks.quality.outside import _of_mouth
from rollcast.benchmarks.quality.strangers import MOUTHS, draw_strangers
from training.data import held_out


def test_without_a_checkout_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strangers, "_ROOT", tmp_path)
    with pytest.raises(ValueError, match=r"checkout.*--strangers 0"):
        draw_strangers(tmp_path, 1)


def test_why_they_cannot_be_drawn_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "training/data"
    folder.mkdir(parents=True)
    (folder / "__main__.py").write_text("import sys; sys.exit('no C compiler')\n")
    monkeypatch.setattr(strangers, "_ROOT", tmp_path)
    with pytest.raises(ValueError, match=r"no C compiler.*make train-tools"):
        draw_strangers(tmp_path / "drawn", 1)


def test_mouths_are_told_apart() -> None:
    assert MOUTHS == held_out.MOUTHS, "files are named by what draws them"
    rows = {
        "closed-1": {"agreement": 0.5, "closed_in_pauses": 1.0},
        "closed-2": {"agreement": 0.7, "closed_in_pauses": 0.5},
        "smiling-1": {"agreement": 0.2, "closed_in_pauses": None},
    }
    closed = _of_mouth("closed", rows)
    assert closed == pytest.approx(
        {"agreement": 0.6, "agreement_worst": 0.5, "closed_in_pauses": 0.75}
    )
    assert _of_mouth("smiling", rows)["closed_in_pauses"] == 0
