"""From nothing to weights in two minutes: every stage runs, learns, and can be taken up again."""

import csv
from argparse import ArgumentTypeError
from pathlib import Path

import pytest

from rollcast.models.contract import Controls, StreamRequest
from rollcast.models.pocket.model import PocketModel
from training.__main__ import SMOKE_STEPS, STAGES, Run, command, stage_steps, train
from training.curves import read_log

ROOT = Path(__file__).resolve().parents[2]


def _course(folder: Path, column: str) -> list[float]:
    with (folder / "evaluate.csv").open() as file:
        return [float(row[column]) for row in csv.DictReader(file)]


def test_a_small_training_improves_and_what_it_makes_streams(smoke_run: Run) -> None:
    run = smoke_run
    psnr = _course(run.parts / "autoencoder", "psnr")
    assert psnr[-1] > psnr[0] + 0.3
    visemes = _course(run.parts / "visemes", "visemes")
    assert visemes[-1] > 0.2
    # a linear guess is where it begins, and draws so few clips well: its own tasks tell more;
    # once pixels count, latents count half
    error = read_log(run.parts / "student/train.csv")[0]["latent"]
    assert 2 * error[-1][1] < 0.92 * error[0][1]
    assert (run.parts / "sheet.png").exists()
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in run.assets.glob("*.safetensors"))

    model = PocketModel(run.assets)
    chunk = model.step(model.start(StreamRequest(seed=1)), Controls())
    assert chunk.frames.shape == (4, 192, 192, 3) and chunk.frames.std() > 10


def test_lanes_hold_every_stage_once_and_data_comes_first(tmp_path: Path) -> None:
    assert len(set(STAGES)) == len(STAGES) and STAGES[0] == "data"
    run = Run("smoke", SMOKE_STEPS, tmp_path, tmp_path, tmp_path)
    for stage in STAGES:
        assert command(run, stage, 1)[1:3] in (["-m", f"training.{stage}"], ["-m", "training.data"])


def test_steps_of_a_stage_are_read_and_told(tmp_path: Path) -> None:
    steps = dict([stage_steps("student=1800")])
    run = Run("full", steps, tmp_path, tmp_path, tmp_path)
    assert command(run, "student", 1)[-4:-2] == ["--steps", "1800"]
    assert "--steps" not in command(run, "autoencoder", 1)
    for wrong in ("data=5", "student", "student=0", "student=many"):
        with pytest.raises(ArgumentTypeError, match=r"STAGE=N.*autoencoder, visemes"):
            stage_steps(wrong)


def test_only_a_small_training_says_how_few_stills_it_takes(tmp_path: Path) -> None:
    for preset, said in (("smoke", True), ("full", False)):
        run = Run(preset, {}, tmp_path, tmp_path, tmp_path)
        assert ("--stills" in command(run, "measures", 1)) == said


@pytest.mark.slow
def test_a_stage_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PYTHONSAFEPATH", "")
    run = Run("smoke", SMOKE_STEPS, tmp_path / "none", tmp_path / "train", tmp_path / "assets")
    with pytest.raises(SystemExit, match=r"stage 'export' failed.*--from export"):
        train(run, "export", threads=1)
