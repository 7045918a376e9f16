"""Single faces for the network that reads expressions: repeatable, of all expressions, kept."""

from pathlib import Path

import numpy as np
import pytest

from training.data.behaviour import EXPRESSIONS
from training.data.clips import portrait
from training.data.stills import babble, load_stills, render_still, render_stills
from training.data.visemes import CHANNELS

COUNTS = {"kofi-news": 2, "stranger-00": 1}


@pytest.fixture(scope="module")
def folder(render_tools: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("stills")
    render_stills(made, COUNTS, jobs=1)
    return made


def test_babble_opens_and_closes_the_mouth() -> None:
    shapes = babble(np.random.default_rng(0), 200)
    assert shapes.shape == (200, len(CHANNELS))
    jaw = shapes[:, CHANNELS.index("jawOpen")]
    assert jaw.min() == 0 and jaw.max() > 0.4
    assert shapes[:, CHANNELS.index("mouthPressLeft")].max() > 0.2
    assert (shapes.max(1) == 0).any(), "it never pauses"


@pytest.mark.usefixtures("render_tools")
def test_equal_arguments_give_equal_pixels_and_other_ones_other_pixels() -> None:
    first = render_still("kofi-news", 3, 0)
    assert np.array_equal(first, render_still("kofi-news", 3, 0))
    for other in (render_still("kofi-news", 3, 1), render_still("kofi-news", 2, 0)):
        assert np.abs(first.astype(int) - other).mean() > 1


@pytest.mark.usefixtures("render_tools")
def test_a_picture_is_a_rendered_frame() -> None:
    pose = np.array([0.2, 0.05, 0.0, 0.1, 0.0], np.float32)
    head, weights = portrait("kofi-news"), {"jawOpen": 0.4, "browDownLeft": 1.0}
    assert np.array_equal(head.picture(weights, pose), head.render(weights, pose).pixels)


def test_every_expression_is_there_equally_often(folder: Path) -> None:
    faces, shown = load_stills(folder, list(COUNTS))
    assert faces.shape == (len(shown), 96, 96, 3) and float(faces.float().std()) > 20
    assert shown.bincount().tolist() == [3] * len(EXPRESSIONS)


def test_only_what_is_missing_or_broken_is_rendered(folder: Path) -> None:
    kept, broken = folder / "kofi-news.npz", folder / "stranger-00.npz"
    before, whole = kept.stat().st_mtime_ns, broken.read_bytes()
    broken.write_bytes(whole[:1000])
    render_stills(folder, COUNTS, jobs=1)
    assert kept.stat().st_mtime_ns == before
    assert broken.read_bytes() == whole
