"""`rollcast try`: good and faulty models by the real server, its exit codes and its report."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from rollcast.benchmarks.trial.stand_in import drawn
from rollcast.server.cli.app import main

from ...tiny_checkpoints import write_checkpoint
from ...variants import some_of

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]

FAULTY = """
from dataclasses import replace
import numpy as np
from rollcast.models.test_pattern import TestPattern

FAULT = {fault!r}

class Faulty(TestPattern):
    def __init__(self):
        super().__init__()
        self.info = replace(self.info, name="faulty")

    def step(self, state, controls):
        chunk = super().step(state, controls)
        frames = chunk.frames
        if FAULT == "frozen":
            frames = np.repeat(frames[:1] * 0 + 60 + np.arange(128, dtype=np.uint8)[:, None], 4, 0)
        if FAULT == "flicker":
            frames = frames // 2 + np.array([0, 100, 0, 100], np.uint8)[:, None, None, None]
        if FAULT == "nan":
            frames = frames * 0
        if FAULT == "dies" and chunk.index > 40:
            raise RuntimeError("no more")
        return replace(chunk, pictures=frames)

def load(options):
    return Faulty()
"""
WORLD = """
from rollcast.models.contract import ImageInput, ModelInputs, VideoInput
from world_pattern import WorldPattern

def load(options):
    looks = {looks}
    return WorldPattern(ModelInputs(**looks), name="faulty")
"""
LOOKS = {
    "image": "{'image': ImageInput(160, 96, required=True)}",
    "video": "{'video': VideoInput(160, 96, 16)}",
}
Trial = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trial:
    """Runs `rollcast try`; its exit code and report."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run(name: str, *arguments: str) -> tuple[int, dict[str, Any]]:
        with pytest.raises(SystemExit) as end:
            main(["try", name, *arguments])
        written = tmp_path / f"try-{name}.json"
        assert isinstance(end.value.code, int)
        return end.value.code, json.loads(written.read_text()) if written.exists() else {}

    return run


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A model with a fault, installed for this process and those that it starts."""
    site = tmp_path / "site"

    def install(fault: str) -> None:
        info = site / "faulty-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[rollcast.models]\nfaulty = faulty_model:load\n")
        code = FAULTY.format(fault=fault)
        if fault in LOOKS:
            shutil.copy(Path(__file__).parents[1] / "world_pattern.py", site)
            code = WORLD.replace("{looks}", LOOKS[fault])
        (site / "faulty_model.py").write_text(code)
        monkeypatch.syspath_prepend(str(site))
        monkeypatch.setenv("PYTHONPATH", str(site))

    return install


@pytest.mark.long
def test_the_embedded_model_is_good(
    trial: Trial, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, report = trial("pocket", "--seconds", "3", "--threads", "1", "--prompt", "smiling xyzzy")
    assert code == 0 and report["good"] and report["faults"] == []
    # the last one may be among those that a busy machine skips
    assert 60 <= report["frames"] + report["skipped_frames"] <= 75
    assert report["ignored_words"] == ["xyzzy"]
    assert 0 < report["ttff_s"] < 5 < report["fps_delivered"] < report["fps"]
    assert {"prepare", "step 0", "decode"} == set(report["work"])
    assert all(each["ms"] > 0 for each in report["work"].values())
    assert report["host_peak_bytes"] > 10**8 and report["plan"] is None
    assert report["machine"]["packages"]["torch"]
    with av.open(str(tmp_path / "try-pocket.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == report["frames"]
    said = capsys.readouterr().out
    assert "host memory at most" in said and "can be" not in said
    assert trial("pocket")[0] == 2, "what is there is not replaced unasked"


@pytest.mark.long
def test_tiny_files_of_a_published_model_are_tried(trial: Trial, tmp_path: Path) -> None:
    folder = tmp_path / "home" / "files"
    write_checkpoint("reward-forcing", folder)
    code, report = trial(
        *("reward-forcing", "--weights", str(folder), "--size", "64x32", "--seconds", "2"),
        *("--threads", "1", "--prompt", "a red fox in the snow"),
    )
    assert code in (0, 1) and report["good"] == (code == 0), "random weights may flicker"
    assert {fault["name"] for fault in report["faults"]} <= {"flicker"}
    assert 20 <= report["frames"] + report["skipped_frames"] <= 32
    assert (report["width"], report["height"]) == (64, 32)
    assert {"step 0", "step 3", "clean pass", "decode"} <= set(report["work"])
    assert report["plan"]["total"] > 0 and report["published_speed"] == "23.1 fps on one H100"
    assert {file["part"]: file["name"] for file in report["files"]} == {
        "weights": "rewardforcing.pt",
        "vae": "Wan2.1_VAE.pth",
        "text_encoder": "models_t5_umt5-xxl-enc-bf16.pth",
        "tokenizer": "umt5-xxl",
        "config": "config.json",
    }
    assert report["asked"]["options"] == ["--weights", "<weights>", "--size", "64x32"]
    assert str(tmp_path) not in json.dumps(report)


@pytest.mark.parametrize("fault", some_of(["flicker", "nan", "frozen"], "flicker"))
def test_a_fault_of_the_picture_is_exit_code_1(
    fault: str, trial: Trial, faulty: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    faulty(fault)
    code, report = trial("faulty", "--seconds", "2")
    assert code == 1 and not report["good"]
    assert fault in {each["name"] for each in report["faults"]}
    assert f"FAULT {fault}: " in capsys.readouterr().out


@pytest.mark.parametrize("looks", ["video", pytest.param("image", marks=pytest.mark.long)])
def test_what_a_model_needs_to_look_at_is_drawn(
    looks: str, trial: Trial, faulty: Callable[[str], None], tmp_path: Path
) -> None:
    faulty(looks)
    code, report = trial("faulty", "--seconds", "3")
    with av.open(str(tmp_path / "try-faulty.mp4")) as video:
        *_, last = (frame.to_ndarray(format="rgb24") for frame in video.decode(video=0))
    # between its bars the model shows what it sees, tinted
    seen, wanted = (picture[20:84].mean(axis=-1).ravel() for picture in (last, drawn(160, 96)))
    assert np.corrcoef(seen, wanted)[0, 1] > 0.6
    assert (code, report["faults"]) == (0, [])


@pytest.mark.long
def test_a_model_that_ends_is_exit_code_4_and_reported(
    trial: Trial, faulty: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    faulty("dies")
    code, report = trial("faulty", "--seconds", "20")
    assert code == 4 and not report["good"]
    assert "fails at this stream again and again" in report["error"]
    assert "try-faulty.json can be attached to an issue" in capsys.readouterr().err


def test_files_that_are_missing_are_exit_code_2(
    trial: Trial, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, report = trial("longlive", "--weights", str(tmp_path))
    assert code == 2 and report == {}
    assert "hf download Efficient-Large-Model/LongLive-1.3B" in capsys.readouterr().err
    assert trial("nonsense")[0] == 2
