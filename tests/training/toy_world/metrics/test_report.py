"""Each measure says what it should of the truth, and of what is wrong in one way only."""

import pytest
import torch
from torch import Tensor

from training.toy_world.law import DIRECTIONS, place_of
from training.toy_world.metrics import COLUMNS, Reference, floor, measure
from training.toy_world.picture import corner_of, draw, pack, path
from training.toy_world.world import CHUNKS, Clips, Prompt, sample

Floor = dict[str, tuple[float, float]]


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference(clips=120)


@pytest.fixture(scope="module")
def truth() -> Clips:
    return sample(Prompt.each(192), generator=torch.Generator().manual_seed(11))


@pytest.fixture(scope="module")
def best(reference: Reference) -> Floor:
    return floor(reference, 192, seeds=(5, 6))


@pytest.mark.long
def test_the_truth_is_measured_as_true(best: Floor) -> None:
    assert list(best) == list(COLUMNS)
    mean = {name: value for name, (value, _) in best.items()}
    for name in ("clear", "legal", "shape_kept"):
        assert mean[name] > 0.999
    for name in ("wrong", "hue_drift", "surprise"):
        assert abs(mean[name]) < 0.06
    for name in ("entropy", "motion", "arc", "hue_spread"):
        assert mean[name] == pytest.approx(1, abs=0.08)
    assert mean["moves_tv"] < 0.08 and mean["shape_tv"] < 0.08 and mean["rarest"] > 0.6
    # two moods are told apart by a few moves: not always
    assert 0.7 < mean["mood_accuracy"] < 0.9 and 0.85 < mean["palette_accuracy"] < 0.95


@pytest.mark.long
def test_blank_clips_are_the_worst_of_all(truth: Clips, reference: Reference, best: Floor) -> None:
    report = measure(torch.zeros_like(truth.latents), truth.prompt, reference)
    assert report["clear"] == report["legal"] == report["shape_kept"] == 0
    assert report["moves_tv"] == 1 and report["hue_spread"] == 0
    for name in ("sliced", "fixed_cf", "learned_cf"):
        assert report[name] > 3 * best[name][0]


@pytest.mark.long
def test_standing_still_is_seen(truth: Clips, best: Floor) -> None:
    still = truth.latents[:, :1, -3:].repeat(1, CHUNKS, 4, 1, 1)
    report = measure(still, truth.prompt)
    assert report["legal"] == 1 and report["motion"] == 0 and report["entropy"] < 0.01
    assert report["copying"] > 0.9 > 5 * best["copying"][0]


def test_collapse_of_looks_is_seen_though_every_clip_is_legal(truth: Clips) -> None:
    one = torch.zeros(len(truth.shape), dtype=torch.long)
    pictures = draw(
        truth.centre.flatten(0, 1),
        one.repeat_interleave(4 * CHUNKS),
        torch.full((4 * CHUNKS * len(one),), 0.04),
    )
    report = measure(pack(pictures.unflatten(0, (len(one), -1))), truth.prompt)
    assert report["legal"] == 1
    assert report["hue_spread"] < 0.01 and report["shape_tv"] == pytest.approx(2 / 3)
    assert report["palette_accuracy"] == pytest.approx(0.5)


def test_prompts_that_are_not_followed_are_seen(truth: Clips) -> None:
    order = torch.randperm(192, generator=torch.Generator().manual_seed(12))
    report = measure(truth.latents, truth.prompt.of(order))
    assert report["legal"] == 1 and report["wrong"] == 0
    assert report["mood_accuracy"] < 0.45 and report["palette_accuracy"] < 0.65
    assert report["moves_tv"] > 0.2 and report["surprise"] > 0.2


def test_sprites_that_change_on_the_way_have_drifted(truth: Clips) -> None:
    changed = torch.cat([truth.latents[:, :3], truth.latents.roll(1, 0)[:, 3:]], 1)
    late = measure(changed, truth.prompt, first=3)
    assert late["legal"] == 1
    assert late["hue_drift"] > 0.1 and late["shape_kept"] < 0.5


def _clips_that(chooses: Tensor) -> Tensor:
    """Latents of clips in the middle that stay or go up and down, as `chooses` [n, chunks] says."""
    node, up = torch.full((len(chooses),), 4), torch.ones(len(chooses), dtype=torch.bool)
    pictures = []
    for chunk in chooses.T:
        way = torch.where(up & (node != 1), 0, 2)
        vector = DIRECTIONS[way] * chunk[:, None]
        centre = path(corner_of(place_of(node)), vector.float(), torch.zeros(len(node)))
        count = len(node) * 4
        hue = torch.full((count,), 0.04)
        drawn = draw(centre.flatten(0, 1), torch.zeros(count, dtype=torch.long), hue)
        pictures.append(drawn.unflatten(0, (-1, 4)))
        node = node + vector[:, 0] * 3
        up = torch.where(chunk > 0, way == 2, up)
    return pack(torch.cat(pictures, 1))


def test_frequencies_are_counted_right() -> None:
    """Calm clips that always stay: of five outcomes all but one are missing, .45 of the odds."""
    prompt = Prompt(torch.zeros(40, dtype=torch.long), torch.zeros(40, dtype=torch.long))
    report = measure(_clips_that(torch.zeros(40, CHUNKS, dtype=torch.long)), prompt)
    count, few = 40 * (CHUNKS - 2), 8
    # the five kinds that are never met (other moods, and behind a move) count as wrong
    assert report["moves_tv"] == pytest.approx(
        (0.45 * count + 5 * few) / (count + 5 * few), abs=1e-4
    )
    assert report["legal"] == 1 and report["motion"] == 0
