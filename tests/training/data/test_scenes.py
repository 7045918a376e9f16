"""Scenes: paths that obey their limits, order of overlap, and a camera that pans."""

import numpy as np
import pytest

from training.data.scenes import MEADOW, SCENES, SIZE, Scene, SceneSpec, wander


def in_world(positions: np.ndarray, spec: SceneSpec) -> np.ndarray:
    """Things as a camera at home would see them."""
    if spec.view is None:
        return positions
    return positions[:, :-1] - positions[:, -1:] + spec.view.home


@pytest.mark.parametrize("spec", SCENES, ids=lambda s: s.name)
def test_things_stay_inside_and_below_the_speed_limit(spec: SceneSpec) -> None:
    size = np.array([t.radius for t in spec.things])
    reach = (0, 0) if spec.view is None else spec.view.pan
    margin = 0.49 * size[None, :, None] - np.array(reach)
    fastest = 0.0
    for seed in range(10):
        positions, angles = wander(np.random.default_rng(seed), spec, 100)
        positions = in_world(positions, spec)
        assert (positions > margin).all() and (positions < SIZE - margin).all()
        fastest = max(fastest, float(np.hypot(*np.diff(positions, axis=0).T).max() * 25))
        assert np.abs(angles).max() < 0.4
        for a in range(len(size)):
            for b in range(a):
                apart = np.hypot(*(positions[:, a] - positions[:, b]).T)
                assert apart.min() > 0.75 * (size[a] + size[b])
    # a thing that is pushed may be faster than one that goes its own way
    assert 110 < fastest < 340


def test_the_camera_pans_within_its_reach_and_rests() -> None:
    assert MEADOW.view is not None
    far, still = np.zeros(2), []
    for seed in range(20):
        view = wander(np.random.default_rng(seed), MEADOW, 100)[0][:, -1]
        far = np.maximum(far, np.abs(view - MEADOW.view.home).max(0))
        step = np.hypot(*np.diff(view, axis=0).T)
        assert step.max() * 25 < 200
        still.append((step < 1e-3).mean())
    assert (far > [20, 8]).all() and (far <= np.array(MEADOW.view.pan) + 1e-3).all()
    assert 0.1 < np.mean(still) < 0.7


@pytest.fixture(scope="module")
def meadow() -> Scene:
    return Scene(MEADOW)


def test_flow_of_a_pan_is_exact(meadow: Scene) -> None:
    offset = np.array([13.0, -6.0], np.float32)
    places = meadow.home + offset
    places[1] += (40, -20)
    frame = meadow.render(places, np.zeros(5))
    assert frame.open_fine is not None and frame.open_fine_ok is not None
    assert (frame.open_fine == -offset).all()
    # rows above the sheep's way: all of it has moved with the camera
    calm = np.s_[:45, 10:]
    assert np.abs(frame.fine[calm] + offset)[frame.fine_ok[calm]].max() < 1e-4
    # whole pixels: what was there is here, but for what the reference hides or does not have
    before = meadow.render(meadow.home, np.zeros(5)).pixels
    moved = np.roll(before, (-6, 13), (0, 1))
    assert np.abs(moved[:90, 13:].astype(int) - frame.pixels[:90, 13:]).max() <= 1
    assert not frame.fine_ok[:, :6].any() and not frame.open_fine_ok[:, :6].any()
    assert not frame.fine_ok[-3:].any() and frame.open_fine_ok[-4, 50]


def test_tracks_of_a_pan_are_exact_and_end_at_the_border(meadow: Scene) -> None:
    offset = np.array([-24.0, 10.0], np.float32)
    places = meadow.home + offset
    places[1] = (2, 140)
    frame = meadow.render(places, np.zeros(5))
    view = meadow.track_objects() == 4
    assert np.allclose(frame.tracks[view], meadow.reference_tracks()[view] + offset)
    assert frame.track_vis[view].all()
    left = frame.tracks[meadow.track_objects() == 1]
    assert left[:, 0].min() < 0 < left[:, 0].max()
    seen = frame.track_vis[meadow.track_objects() == 1]
    assert np.array_equal(seen, left[:, 0] > 0)


def test_a_thing_before_a_point_of_the_background_hides_it(meadow: Scene) -> None:
    places = meadow.home.copy()
    places[0] = places[4]
    frame = meadow.render(places, np.zeros(5))
    assert not frame.track_vis[meadow.track_objects() == 4].any()


def test_later_things_cover_earlier_ones() -> None:
    toys = Scene(SCENES[0])
    home = toys.home.copy()
    home[0] = home[3]
    frame = toys.render(home, np.zeros(4, np.float32))
    seen = frame.track_vis.reshape(4, 3)
    assert seen[3].all() and not seen[0, 0] and seen[1].all() and seen[2].all()


def test_home_positions_do_not_overlap() -> None:
    for spec in SCENES:
        for i, a in enumerate(spec.things):
            for b in spec.things[i + 1 :]:
                gap = np.hypot(a.home[0] - b.home[0], a.home[1] - b.home[1])
                assert gap > 1.4 * (a.radius + b.radius)
