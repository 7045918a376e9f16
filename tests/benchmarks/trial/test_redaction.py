"""What is private is nowhere in a report, and what is public stays."""

from __future__ import annotations

import getpass
import json
from pathlib import Path

import pytest

from rollcast.benchmarks.trial.redaction import redacted


def test_homes_users_and_places_are_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home" / "mallory"
    weights = home / "secret" / "weights"
    weights.mkdir(parents=True)
    (weights / "student.pt").touch()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(getpass, "getuser", lambda: "mallory")
    report = {
        "options": ["--weights", str(weights), "--weights", "org/name"],
        "error": f"cannot read {weights}/student.pt: see {home}/.cache, said mallory",
        f"{home}/key": [1, None, {"deep": (f"{weights}-other",)}],
    }
    clean = redacted(report, [str(weights), "org/name"])
    assert clean == {
        "options": ["--weights", "<weights>", "--weights", "org/name"],
        "error": "cannot read <weights>/student.pt: see ~/.cache, said <user>",
        "~/key": [1, None, {"deep": ["~/secret/weights-other"]}],
    }
    assert "mallory" not in json.dumps(clean)


def test_a_file_that_was_named_keeps_its_name(tmp_path: Path) -> None:
    file = tmp_path / "mine.pt"
    file.touch()
    assert redacted(f"read {file}!", [str(file)]) == "read <weights>/mine.pt!"


def test_a_place_written_from_home_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert redacted(f"{tmp_path}/models/a.pt", ["~/models"]) == "<weights>/a.pt"


def test_names_of_everybody_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "root")
    assert redacted("the root of it", []) == "the root of it"
