"""A cell at a thing's edge gets the flow of that thing, whatever it was mixed with."""

import numpy as np
import pytest

from rollcast.models.pocket.motion import SceneObject
from training.rigid_flow import rigid_flow

SIZE, CELLS = 64, 32
HOMES = np.array([[16.0, 20.0], [44.0, 40.0]])
RADIUS = 8.0
THINGS = tuple(SceneObject("thing", (float(x), float(y)), RADIUS) for x, y in HOMES)


def turned(vectors: np.ndarray, angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return vectors @ np.array([[c, s], [-s, c]])


def scene(centres: np.ndarray, angles: tuple[float, float]) -> tuple[dict, np.ndarray, np.ndarray]:
    """A clip of one frame, its exact flow [1, n, n, 2] and which cells show a thing [n, n]."""
    pixel = 2 * np.mgrid[:CELLS, :CELLS][::-1].transpose(1, 2, 0) + 1.0
    flow, shown = np.zeros((1, CELLS, CELLS, 2)), np.zeros((CELLS, CELLS), bool)
    points, home = [], []
    for centre, angle, rest in zip(centres, angles, HOMES, strict=True):
        inside = np.hypot(*(pixel - centre).transpose(2, 0, 1)) < RADIUS
        flow[0][inside] = turned(pixel[inside] - centre, -angle) + rest - pixel[inside]
        shown |= inside
        for offset in ([0.0, 0.0], [0.0, 4.0], [0.0, -3.0]):
            points.append(centre + turned(np.array(offset), angle))
            home.append(rest + offset)
    clip = {
        "frames": np.zeros((1, SIZE, SIZE, 3), np.uint8),
        "tracks": np.array(points, np.float32)[None],
        "track_ref": np.array(home, np.float32),
        "track_object": np.repeat([0, 1], 3),
    }
    return clip, flow, shown


@pytest.mark.parametrize("seed", range(4))
def test_mixed_edges_get_the_flow_of_their_thing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    centres = HOMES + rng.uniform(6, 9, (2, 2)) * rng.choice([-1, 1], (2, 2))
    clip, flow, shown = scene(centres, tuple(rng.uniform(-0.3, 0.3, 2)))
    share = np.where(
        rng.random((CELLS, CELLS, 1)) < 0.5, 1, rng.uniform(0.3, 0.9, (CELLS, CELLS, 1))
    )
    told = rigid_flow(flow * share, clip, THINGS)
    # tracks are float32, and the angle comes from points 4 px apart
    np.testing.assert_allclose(told[0][shown], flow[0][shown], atol=0.05)
    assert not told[0][~shown].any()


def test_things_at_rest_and_the_ground_are_left_alone() -> None:
    clip, flow, _ = scene(HOMES.copy(), (0.0, 0.0))
    assert not rigid_flow(flow, clip, THINGS).any()


def test_the_way_of_a_camera_is_taken_out() -> None:
    centres = HOMES + np.array([[7.0, -6.0], [-8.0, 6.0]])
    clip, flow, shown = scene(centres, (0.0, 0.0))
    way = np.array([[3.0, -2.0]])
    in_world = np.where(shown[None, ..., None], flow - way[:, None, None], 0)
    told = rigid_flow(0.6 * in_world, clip, THINGS, way)
    np.testing.assert_allclose(told, in_world, atol=0.05)
