"""Rendering of a data set: resuming, the index, and errors that name the hint."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from training.data import voices
from training.data.assets import MissingAssetError
from training.data.plan import PRESETS, plan
from training.data.render import render_dataset


def test_every_planned_clip_is_there(smoke_folder: Path) -> None:
    found = {path.stem for path in smoke_folder.glob("*.npz")}
    assert found == {job.name for job in plan(PRESETS["smoke"])}
    assert not list(smoke_folder.glob("*.part"))


def test_resuming_renders_only_what_is_missing_or_broken(
    smoke_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(smoke_folder, folder)
    kept, gone, broken = (folder / f"{n}.npz" for n in
                          ("train_toys_00", "train_audio_00", "test_audio_00"))  # fmt: skip
    before = kept.stat().st_mtime_ns
    gone.unlink()
    broken.write_bytes(broken.read_bytes()[:1000])
    render_dataset(folder, PRESETS["smoke"], jobs=1, console=Console(quiet=True))
    assert kept.stat().st_mtime_ns == before
    for path in (gone, broken):
        assert path.read_bytes() == (smoke_folder / path.name).read_bytes()


def test_index_describes_the_looks(smoke_folder: Path) -> None:
    index = json.loads((smoke_folder / "index.json").read_text())
    assert index["expressions"][0] == "neutral" and len(index["visemes"]) == 16
    assert not set(index["voices"]["train"]) & set(index["voices"]["test"])
    assert {look["kind"] for look in index["looks"]} == {"avatar", "scene"}
    for look in index["looks"]:
        with Image.open(smoke_folder / look["reference"]) as picture:
            assert picture.size == (384, 384)
        if look["ships"]:
            assert len(look["attributes"]) == len(set(look["attributes"])) > 3


def test_missing_speech_program_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingAssetError, match="apt-get install flite"):
        voices.speak("flite", "slt", "hello")


def test_unknown_espeak_voice_names_the_package() -> None:
    with pytest.raises(MissingAssetError, match="apt-get install espeak-ng"):
        voices.speak("espeak", "no-such-voice", "hello")
