"""The smoke data set and what a short training makes of it, once for all tests of training."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from training.__main__ import SMOKE_STEPS, Run, train
from training.data.assets import MissingAssetError, asset_folder
from training.data.clips import Arrays
from training.data.plan import PRESETS
from training.data.render import render_dataset


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
