"""Each fault of a picture is told, and no working stream is blamed; all through the codec."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
import simplejpeg
import torch

from rollcast.benchmarks.trial.picture_faults import PictureFaults
from rollcast.models.contract import Controls, StreamRequest
from rollcast.models.test_pattern import TestPattern
from rollcast.models.wan.stream.model import rgb_levels

FPS, FRAMES, HEIGHT, WIDTH = 16, 80, 48, 80


def good(seed: int = 0) -> np.ndarray:
    """A textured picture that moves, float [T, H, W, 3] in levels."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    texture = np.zeros((HEIGHT, WIDTH, 3))
    for up, right in generator.integers(-3, 4, (16, 2)):
        turns = (up * rows / HEIGHT + right * columns / WIDTH)[..., None]
        texture += generator.uniform(5, 15, 3) * np.cos(2 * np.pi * (turns + generator.random(3)))
    moved = [np.roll(texture, (k // 3, k), (0, 1)) for k in range(FRAMES)]
    return 120 + np.stack(moved) + generator.normal(0, 3, (FRAMES, HEIGHT, WIDTH, 3))


def looked_at(frames: Iterable[np.ndarray]) -> PictureFaults:
    faults = PictureFaults(FPS)
    for frame in frames:
        levels = np.ascontiguousarray(np.clip(frame, 0, 255).astype(np.uint8))
        faults.look(simplejpeg.decode_jpeg(simplejpeg.encode_jpeg(levels, quality=80)))
    return faults


def names(frames: Iterable[np.ndarray]) -> list[str]:
    return [fault.name for fault in looked_at(frames).found()]


def test_what_works_is_not_blamed() -> None:
    assert names(good()) == []
    faults = looked_at(good())
    assert faults.figures["frames"] == FRAMES and faults.figures["longest_still_s"] == 0
    model, state = TestPattern(), TestPattern().start(StreamRequest())
    assert names(frame for _ in range(30) for frame in model.step(state, Controls()).frames) == []


def test_a_cut_a_fade_a_dark_scene_and_a_short_pause_are_no_faults() -> None:
    assert names([*good(1)[:40], *good(2)[:40]]) == []
    fade = good() * np.minimum(1, np.arange(FRAMES) / 12)[:, None, None, None] + 2
    assert names(fade) == []
    assert names(10 + good() / 10) == []
    still = good()
    still[20:34] = still[20]
    assert names(still) == []


def test_values_that_are_no_numbers_are_told_from_their_black() -> None:
    values = torch.from_numpy(good()).permute(0, 3, 1, 2)[None] / 127.5 - 1
    values[:, 30:] = float("nan")
    faults = looked_at(rgb_levels(values[0]).numpy()).found()
    assert [fault.name for fault in faults] == ["nan", "frozen"]
    assert "from frame 30" in faults[0].what


def test_black_and_flat_are_told() -> None:
    assert names((good() - 100) / 10) == ["black"]
    assert names(np.full((FRAMES, HEIGHT, WIDTH, 3), (90, 140, 20))) == ["flat", "frozen"]


def test_a_frozen_end_is_told() -> None:
    frames = good()
    frames[60:] = frames[60]
    (fault,) = looked_at(frames).found()
    assert fault.name == "frozen" and fault.what == "nothing moved for 1.2 s"


@pytest.mark.parametrize("every", [2, 12])
def test_flicker_is_told_of_every_frame_and_of_every_chunk(every: int) -> None:
    frames = good()
    frames[::every] += 40
    assert names(frames) == ["flicker"]


@pytest.mark.slow
def test_colours_and_places_that_flicker_are_told_at_the_same_brightness() -> None:
    turned = good()
    turned[::2] = turned[::2, ..., ::-1]
    assert names(turned) == ["flicker"]
    pair = [good(seed)[0] for seed in range(2)]
    two = np.stack([pair[k % 2] for k in range(FRAMES)])
    assert names(two) == ["flicker"]


def test_no_frame_is_a_fault() -> None:
    assert names([]) == ["nothing"]


def test_small_pictures_are_looked_at_too() -> None:
    assert names(good()[:, :32, :64]) == []
