"""Camera motions on a plane against exact geometry: points in space, turned and projected."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rollcast.models.contract import CameraMotion
from rollcast.models.wan.tracks.plane_motion import flow, homographies, moved

ASPECT = 480 / 832
POINTS = np.array([[0.5, 0.5], [0.2, 0.7], [0.81, 0.33], [0.45, 0.4], [0.64, 0.6]])


def after(motion: CameraMotion, seconds: float) -> np.ndarray:
    (homography,) = homographies(flow(motion, ASPECT), [seconds])
    return moved(POINTS, homography)[0]


def in_space(points: np.ndarray) -> np.ndarray:
    """Places as points of the plane: right, down, forward, in picture widths, from the camera."""
    x, y = points.T
    return np.stack((x - 0.5, (y - 0.5) * ASPECT, np.ones_like(x)), axis=1)


def on_picture(space: np.ndarray) -> np.ndarray:
    x, y, depth = space.T
    return np.stack((0.5 + x / depth, 0.5 + y / depth / ASPECT), axis=1)


def test_standing_still_moves_nothing() -> None:
    assert np.array_equal(after(CameraMotion(), 3.0), POINTS)


@pytest.mark.parametrize(("right", "down"), [(0.1, 0.0), (0.0, -0.2), (0.07, 0.03)])
def test_a_pan_moves_the_picture_by_as_many_widths_the_other_way(right: float, down: float) -> None:
    made = after(CameraMotion((right, down, 0.0)), 0.75)
    wanted = POINTS - 0.75 * np.array([right, down / ASPECT])
    np.testing.assert_allclose(made, wanted, atol=1e-12)
    # the same as walking past a plane one width away
    walked = on_picture(in_space(POINTS) - 0.75 * np.array([right, down, 0.0]))
    np.testing.assert_allclose(made, walked, atol=1e-12)


@pytest.mark.parametrize("forward", [0.3, -0.4])
def test_a_dolly_grows_from_the_middle_at_a_steady_rate(forward: float) -> None:
    made = after(CameraMotion((0.0, 0.0, forward)), 2.0)
    np.testing.assert_allclose(made - 0.5, (POINTS - 0.5) * math.exp(2.0 * forward), atol=1e-12)
    # a moment of it is walking towards a plane one width away
    step = 1e-6
    walked = on_picture(in_space(POINTS) - [0.0, 0.0, step * forward])
    np.testing.assert_allclose(
        (after(CameraMotion((0.0, 0.0, forward)), step) - POINTS) / step,
        (walked - POINTS) / step,
        atol=1e-6,
    )


def test_a_clockwise_roll_turns_the_picture_the_other_way_round() -> None:
    made = after(CameraMotion(rotation=(0.0, 0.0, 20.0)), 1.5)
    angle = -math.radians(30.0)
    x, y = (POINTS - 0.5).T * np.array([[1.0], [ASPECT]])
    wanted = np.stack(
        (
            0.5 + math.cos(angle) * x - math.sin(angle) * y,
            0.5 + (math.sin(angle) * x + math.cos(angle) * y) / ASPECT,
        ),
        axis=1,
    )
    np.testing.assert_allclose(made, wanted, atol=1e-12)
    assert made[1, 0] > POINTS[1, 0], "what is below the middle goes right"


def test_yaw_right_and_pitch_up_see_what_was_there() -> None:
    """What was in the middle is as far off as the camera turned, by the tangent."""
    angle = math.radians(24.0)
    yawed = after(CameraMotion(rotation=(0.0, 12.0, 0.0)), 2.0)
    np.testing.assert_allclose(yawed[0], [0.5 - math.tan(angle), 0.5], atol=1e-12)
    pitched = after(CameraMotion(rotation=(12.0, 0.0, 0.0)), 2.0)
    np.testing.assert_allclose(pitched[0], [0.5, 0.5 + math.tan(angle) / ASPECT], atol=1e-12)
    space = in_space(POINTS)
    turned = np.stack(
        (
            math.cos(angle) * space[:, 0] - math.sin(angle) * space[:, 2],
            space[:, 1],
            math.sin(angle) * space[:, 0] + math.cos(angle) * space[:, 2],
        ),
        axis=1,
    )
    np.testing.assert_allclose(yawed, on_picture(turned), atol=1e-12)


def test_motions_go_on_alike_however_they_are_cut() -> None:
    motion = CameraMotion((0.1, -0.05, 0.2), (3.0, -8.0, 15.0))
    generator = flow(motion, ASPECT)
    whole = homographies(generator, [0.75])[0]
    half, quarter = homographies(generator, [0.5, 0.25])
    once, _ = moved(POINTS, whole)
    twice, _ = moved(moved(POINTS, half)[0], quarter)
    np.testing.assert_allclose(twice, once, atol=1e-12)


def test_what_leaves_or_is_behind_is_not_in_sight() -> None:
    points = np.array([[0.1, 0.5], [0.5, 0.5], [0.0, 1.0]])
    pan = homographies(flow(CameraMotion((0.2, 0.0, 0.0)), ASPECT), [0.0, 0.75, 4.0])
    _, seen = moved(points, pan)
    assert seen.tolist() == [[True, True, True], [False, True, False], [False] * 3]
    turn = homographies(flow(CameraMotion(rotation=(0.0, 90.0, 0.0)), ASPECT), [2.0])
    places, seen = moved(points, turn)
    assert not seen.any() and np.isfinite(places).all()
