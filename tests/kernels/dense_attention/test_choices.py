"""The file of choices: private, small, whole, and never in the way."""

from __future__ import annotations

import json
import multiprocessing
import stat
import time
from pathlib import Path

import pytest

from rollcast.kernels.dense_attention.choices import MAX_ENTRIES, ChoiceFile, own_choices
from rollcast.kernels.dense_attention.providers import Provider

KNOWN: tuple[Provider, ...] = ("triton", "cudnn")


@pytest.fixture
def file(tmp_path: Path) -> ChoiceFile:
    return ChoiceFile(tmp_path / "new" / "folder" / "choices.json")


def choose(file: ChoiceFile, entry: str, chosen: Provider) -> Provider:
    return file.choice(entry, KNOWN, lambda: (chosen, {chosen: 1.5}))


def test_it_is_kept_for_its_owner_alone(file: ChoiceFile) -> None:
    assert choose(file, "a", "triton") == choose(file, "a", "cudnn") == "triton"
    assert json.loads(file.path.read_text())["choices"]["a"]["ms"] == {"triton": 1.5}
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o700
    assert {each.name for each in file.path.parent.iterdir()} == {"choices.json", "choices.lock"}


def test_the_oldest_go(file: ChoiceFile) -> None:
    for number in range(MAX_ENTRIES + 3):
        choose(file, str(number), "triton")
    assert len(json.loads(file.path.read_text())["choices"]) == MAX_ENTRIES
    assert choose(file, "2", "cudnn") == "cudnn" and choose(file, "9", "cudnn") == "triton"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"format": 1}',
        b'{"format": 1, "choices": {"a": 3}}',
        b'{"format": 1, "choices": {"a": {"provider": "nobody"}}}',
        b'{"format": 1, "choices": {"a": {"provider": ["triton"]}}}',
        b'{"format": 2, "choices": {"a": {"provider": "triton"}}}',
        b'{"format": 1, "choices": {"a": {"provider": "triton"}}}' + b" " * 300_000,
    ],
)
def test_a_damaged_file_is_as_good_as_none(file: ChoiceFile, content: bytes) -> None:
    file.path.parent.mkdir(parents=True)
    file.path.write_bytes(content)
    assert choose(file, "a", "cudnn") == "cudnn"
    assert choose(file, "a", "triton") == "cudnn"


def test_processes_that_start_together_agree(file: ChoiceFile) -> None:
    context = multiprocessing.get_context("fork")
    with context.Pool(2) as pool:
        chosen = pool.starmap(_race_slowly, [(file, "triton"), (file, "cudnn")], chunksize=1)
    assert chosen[0] == chosen[1]


def _race_slowly(file: ChoiceFile, winner: Provider) -> Provider:
    def race() -> tuple[Provider, dict[Provider, float]]:
        time.sleep(0.2)
        return winner, {winner: 1.0}

    return file.choice("a", KNOWN, race)


def test_it_is_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert own_choices().path == tmp_path / "rollcast" / "attention" / "choices.json"
