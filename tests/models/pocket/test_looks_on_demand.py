"""Looks are seen when they are shown, and not before."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from rollcast.models.contract import Controls, StreamRequest
from rollcast.models.pocket.model import PocketModel


@pytest.mark.slow
def test_a_look_is_seen_once_and_when_it_is_shown(folder: Path) -> None:
    model = PocketModel(folder)
    looks = model._looks
    assert list(looks) == ["ann-red", "toys", "hills"] and "toys" in looks and len(looks) == 3
    assert not looks._seen
    state = model.start(StreamRequest(seed=0, scene="toys"))
    model.step(state, Controls())
    assert list(looks._seen) == ["toys"]
    assert looks["toys"] is looks["toys"]
    model.step(state, Controls(scene="hills"))
    assert list(looks._seen) == ["toys", "hills"]


def test_what_is_shown_does_not_depend_on_when_a_look_was_seen(folder: Path) -> None:
    early, late = PocketModel(folder), PocketModel(folder)
    for look in early._looks:
        assert early._looks[look].entry.name == look
    frames = [
        model.step(model.start(StreamRequest(seed=0, scene="hills")), Controls()).frames
        for model in (early, late)
    ]
    assert np.array_equal(frames[0], frames[1])


def test_a_missing_picture_is_told_before_anybody_asks_for_it(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    manifest = json.loads((tmp_path / "copy" / "manifest.json").read_text())
    (tmp_path / "copy" / manifest["looks"][1]["plate"]).unlink()
    with pytest.raises(FileNotFoundError, match=r"toys-plate\.png is missing, of look toys"):
        PocketModel(tmp_path / "copy")
