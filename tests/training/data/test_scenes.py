"""Scenes: paths that obey their limits, and order of overlap."""

import numpy as np
import pytest

from training.data.scenes import SCENES, SIZE, Scene, SceneSpec, wander


@pytest.mark.parametrize("spec", SCENES, ids=lambda s: s.name)
def test_things_stay_inside_and_below_the_speed_limit(spec: SceneSpec) -> None:
    size = np.array([t.radius for t in spec.things])
    margin = 0.49 * size[None, :, None]
    fastest = 0.0
    for seed in range(10):
        positions, angles = wander(np.random.default_rng(seed), spec, 100)
        assert (positions > margin).all() and (positions < SIZE - margin).all()
        fastest = max(fastest, float(np.hypot(*np.diff(positions, axis=0).T).max() * 25))
        assert np.abs(angles).max() < 0.4
        for a in range(len(size)):
            for b in range(a):
                apart = np.hypot(*(positions[:, a] - positions[:, b]).T)
                assert apart.min() > 0.75 * (size[a] + size[b])
    # a thing that is pushed may be faster than one that goes its own way
    assert 110 < fastest < 340


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
