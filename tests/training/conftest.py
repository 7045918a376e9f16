"""The smoke data set and what a short training makes of it, once for all tests of training."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from rollcast.models.pocket.config import SHIFT, STUDENT
from rollcast.models.sampling.flow_schedule import FlowSchedule
from training.__main__ import SMOKE_STEPS, Run, train
from training.data.assets import MissingAssetError, asset_folder
from training.data.clips import Arrays
from training.data.plan import PRESETS
from training.data.render import render_dataset
from training.pocket_student import PocketStudent
from training.sequences import Batch
from training.task import TrainingTask

LATENTS = (2, 2, 112, 8, 8)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs the smoke data set waits for it to be rendered, and some for a training on it."""
    for item in items:
        if "render_tools" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.training)
            item.add_marker(pytest.mark.long)
            # The first one renders, and the first that needs a training waits for all of it.
            item.add_marker(pytest.mark.timeout(1800))


@pytest.fixture(scope="session")
def render_tools() -> None:
    """Skips where a package or program that rendering needs is missing."""
    try:
        asset_folder()
    except MissingAssetError as error:
        pytest.skip(str(error))
    for program in ("cc", "flite", "espeak-ng"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


@pytest.fixture(scope="session")
def smoke_folder(render_tools: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a rendered smoke data set."""
    folder = tmp_path_factory.mktemp("smoke")
    render_dataset(folder, PRESETS["smoke"], jobs=1, console=Console(quiet=True))
    return folder


@pytest.fixture(scope="session")
def smoke_clips(smoke_folder: Path) -> dict[str, Arrays]:
    """All clips of the smoke data set by file stem."""
    return {path.stem: dict(np.load(path)) for path in sorted(smoke_folder.glob("*.npz"))}


@pytest.fixture(scope="session")
def smoke_run(smoke_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """From the smoke data to weights: all stages, by the command that users have."""
    folder = tmp_path_factory.mktemp("trained")
    run = Run("smoke", SMOKE_STEPS, smoke_folder, folder / "train", folder / "assets")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(Path(__file__).resolve().parents[2])
        patch.setenv("PYTHONSAFEPATH", "")
        train(run, "autoencoder", threads=1)
    return run


@pytest.fixture(scope="module")
def embedded() -> tuple[TrainingTask, PocketStudent, Batch]:
    """The task without its data: one batch of noise, an untrained student."""
    torch.manual_seed(0)
    student = PocketStudent(12)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    count, chunks = LATENTS[:2]
    references: Any = SimpleNamespace(
        base=torch.randn(2, 1, *LATENTS[2:]),
        channels=torch.randn(2, 1, STUDENT.extra_channels, 8, 8),
        is_avatar=torch.tensor([True, False]),
    )
    references.moved_base = lambda batch: references.base[batch.look].expand(LATENTS)
    look = torch.tensor([0, 1])
    batch = Batch(
        latents=torch.randn(LATENTS),
        groups=torch.randn(count, chunks, 5, 29),
        tracks=torch.randn(count, 4 * chunks, STUDENT.track_channels, 8, 8),
        flow=torch.zeros(count, 4 * chunks, 2, 16, 16),
        pan=torch.zeros(count, 4 * chunks, 2),
        look=look,
        words=torch.rand(count, 12),
        clip=look,
        start=0 * look,
    )
    task = TrainingTask.__new__(TrainingTask)
    task.references, task.schedule, task.cells = references, FlowSchedule(SHIFT), torch.ones(8, 8)
    task.draw = lambda: batch
    return task, student, batch
