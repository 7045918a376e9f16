"""The example of a model of one's own: installed as pip does it, served, steered, resumed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rollcast.client import Frame, Stream, TrackPoint, connect
from rollcast.models.contract import Controls, StreamRequest, TrackEvent
from rollcast.models.registry import foreign_models, load_model
from rollcast.server.config import ServerConfig
from rollcast.server.web.app import build_hosts

from ..server.running import running, until

EXAMPLE = Path(__file__).parents[2] / "examples" / "reaction_diffusion"
NAME = "reaction-diffusion"
pytestmark = [pytest.mark.processes, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where it was installed; from a copy, since setuptools builds beside the sources."""
    folder = tmp_path_factory.mktemp("example")
    shutil.copytree(EXAMPLE, folder / "source")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    offline = ["--no-index", "--no-deps", "--no-build-isolation"]
    target = ["--target", str(folder / "site"), str(folder / "source")]
    done = subprocess.run([*pip, *offline, *target], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "site"


@pytest.fixture(autouse=True)
def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process and in those that it starts."""
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site))


async def test_it_is_served_and_obeys(site: Path) -> None:
    assert foreign_models()[NAME].distribution == "rollcast-reaction 0.1.0"
    config = ServerConfig(models=(NAME, "test-pattern"))
    hosts = build_hosts(config)
    async with running(hosts=hosts, models=config.models, wait_ready=False) as server:
        await until(lambda: server.engine.health == "ready")
        async with connect(
            server.http, model=NAME, prompt="blue spots please", seed=3, codecs=("jpeg",)
        ) as stream:
            before = await picture(stream)
            assert stream.state is not None and stream.state.ignored_words == ["please"]
            await stream.prompt("red coral")
            applied = await stream.tracks([TrackPoint(id=1, phase="down", x=0.5, y=0.5)])
            touched = await picture(stream, applied.pts_us)
    assert before.shape == touched.shape == (216, 384, 3)
    ink = touched[105:111, 189:195].reshape(-1, 3).mean(axis=0)
    assert ink[0] > ink[2] + 60, "what is poured in the middle is red"
    assert blueness(before) > 0 > blueness(touched)


def test_a_dish_that_was_saved_goes_on_bit_for_bit() -> None:
    model = load_model(NAME)
    dish = model.start(StreamRequest(seed=5, prompt="gold worms xyzzy"))
    held = (TrackEvent(7, "down", 0.3, 0.4),)
    first = model.step(dish, Controls(prompt="red coral", transition_chunks=4, tracks=held))
    assert first.ignored_words == ()
    again = model.restore(model.snapshot(dish))
    for controls in (Controls(), Controls(tracks=(TrackEvent(7, "up", 0.9, 0.9),)), Controls()):
        one, other = model.step(dish, controls), model.step(again, controls)
        assert one.index == other.index and np.array_equal(one.frames, other.frames)


def test_it_refuses_what_it_has_no_use_for() -> None:
    with pytest.raises(ValueError, match=r"rollcast-reaction 0\.1\.0 .* it has no use for weights"):
        load_model(NAME, weights=["somewhere"])


async def picture(stream: Stream, pts_us: float = 0) -> np.ndarray:
    """The first picture from this media time on."""
    async for media in stream:
        if isinstance(media, Frame) and media.pts_us >= pts_us:
            return media.image
    raise AssertionError("the stream ended")


def blueness(image: np.ndarray) -> float:
    """How much more blue than red there is."""
    return float(image[..., 2].mean() - image[..., 0].mean())
