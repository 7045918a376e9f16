"""Models of other distributions: found by entry point, and blamed by name when they fail."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from rollcast.models.load_options import LoadOptions
from rollcast.models.plugins import PluginFailed
from rollcast.models.registry import foreign_models, load_model, model_names, preload
from rollcast.server.cli.app import main

GOOD = """
from dataclasses import replace
from rollcast.models.test_pattern import TestPattern

def load(options):
    if options.weights:
        raise FileNotFoundError(f"no such file: {options.weights[0]}")
    model = TestPattern()
    model.info = replace(model.info, name="good", title=f"for {options.sessions}")
    return model

def misnamed(options):
    return TestPattern()

def nothing(options):
    return object()
"""
Install = Callable[[str, str, str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a distribution of one module on the path, as pip leaves it."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def put(distribution: str, entries: str, code: str) -> None:
        name = distribution.replace("-", "_")
        (tmp_path / f"{name}.py").write_text(code)
        info = tmp_path / f"{name}-1.2.dist-info"
        info.mkdir()
        about = f"Name: {distribution}\nVersion: 1.2\nSummary: of a stranger\n"
        (info / "METADATA").write_text(f"Metadata-Version: 2.4\n{about}License-Expression: MIT\n")
        (info / "entry_points.txt").write_text(f"[rollcast.models]\n{entries}\n")

    return put


@pytest.mark.slow
def test_a_model_of_another_distribution_is_listed_and_loaded(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install("their-good", "good = their_good:load", GOOD)
    assert model_names()["good"] == "of a stranger" and preload("good") == ()
    assert load_model("good", sessions=3).info.title == "for 3"
    main_ok("models", "--json", "--load")
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["good"]["distribution"] == "their-good 1.2" and rows["good"]["licence"] == "MIT"
    assert rows["good"]["scenes"] == ["bars", "grid"]
    assert rows["pocket"]["distribution"] == "rollcast"
    main_ok("models")
    assert "their-good 1.2" in capsys.readouterr().out


def test_what_it_says_of_files_is_told_as_it_is(install: Install) -> None:
    install("their-good", "good = their_good:load", GOOD)
    with pytest.raises(FileNotFoundError, match="no such file: here"):
        load_model("good", weights=["here"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("bad = their_bad:load", "ImportError: no luck"),
        ("bad = their_good_twin:absent", "has no attribute 'absent'"),
        ("bad = their_good_twin:nothing", "made a object, not a model"),
        ("bad = their_good_twin:misnamed", "calls itself 'test-pattern'"),
    ],
)
def test_a_broken_one_is_one_clear_error_and_stops_no_other(
    install: Install, entry: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    install("their-bad", entry, 'raise ImportError("no luck")')
    install("their-good-twin", "twin = their_good_twin:misnamed", GOOD)
    with pytest.raises(
        PluginFailed, match=r"model bad of the distribution their-bad 1\.2"
    ) as failed:
        load_model("bad")
    assert why in str(failed.value)
    main_ok("models", "--load", "--json")
    told = capsys.readouterr()
    assert "warning: model bad of the distribution their-bad 1.2 cannot be used" in told.err
    assert {"bad", "pocket", "test-pattern"} <= {row["name"] for row in json.loads(told.out)}
    assert load_model("test-pattern").info.name == "test-pattern"


def test_names_that_are_taken_are_left_out_and_told(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install("their-good", "good = their_good:load\npocket = their_good:load", GOOD)
    install("their-other", "good = their_other:load", GOOD)
    assert foreign_models()["good"].distribution == "their-good 1.2"
    assert "pocket" not in foreign_models()
    main_ok("models")
    told = capsys.readouterr().err
    assert "model good of the distribution their-other 1.2 is left out: its name is taken" in told
    assert "model pocket of the distribution their-good 1.2 is left out" in told


def test_nobody_here_plans_the_memory_of_a_stranger(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install("their-good", "good = their_good:load", GOOD)
    with pytest.raises(SystemExit) as end:
        main(["models", "plan", "good"])
    assert end.value.code == 2
    assert "known to their-good 1.2 alone" in capsys.readouterr().err


def test_options_that_a_model_has_no_use_for_are_named() -> None:
    LoadOptions(threads=3, sessions=2).check_none_but()
    LoadOptions(size=(64, 32)).check_none_but("size")
    with pytest.raises(ValueError, match="no use for weights, quantize: leave that out"):
        LoadOptions(weights=("a",), size=(64, 32), quantize="int8").check_none_but("size")
    with pytest.raises(ValueError, match=r"pocket comes with its weights and size: .* dtype"):
        load_model("pocket", dtype="bf16")


def main_ok(*arguments: str) -> None:
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    assert end.value.code == 0
