"""Points that a camera carries: where they are, when they are seen, when they begin anew."""

from __future__ import annotations

import numpy as np
import torch

from rollcast.models.contract import CameraMotion
from rollcast.models.wan.handle_grid import grid_points
from rollcast.models.wan.tracks.carried_points import TURN_CHUNKS, CarriedPoints

FPS, ASPECT, PICTURES = 16.0, 0.5, 12


def points(size: int = 6) -> CarriedPoints:
    return CarriedPoints.begin(grid_points(size).astype(np.float64))


def chunk(
    carried: CarriedPoints, held: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    none = np.zeros(len(carried.grid), np.bool_) if held is None else held
    anew = carried.renew(none).tolist()
    places, seen = carried.carry(PICTURES, none, fps=FPS, aspect=ASPECT)
    return places, seen, anew


def test_under_a_still_camera_nothing_ever_happens() -> None:
    carried = points()
    for _ in range(2 * TURN_CHUNKS):
        places, seen, anew = chunk(carried)
        assert (places == carried.grid).all() and seen.all() and not anew


def test_each_picture_is_a_frame_further_and_chunks_follow_each_other() -> None:
    carried = points()
    carried.motion = CameraMotion((0.08, 0.0, 0.0))
    first, _, _ = chunk(carried)
    second, _, anew = chunk(carried)
    times = np.arange(1, 2 * PICTURES + 1) / FPS
    rest = [k for k in range(len(carried.grid)) if k not in anew]
    made = np.concatenate((first, second))[:, rest]
    wanted = carried.grid[rest, 0] - 0.08 * times[:, None]
    np.testing.assert_allclose(made[..., 0], wanted, atol=1e-12)
    np.testing.assert_allclose(made[..., 1], carried.grid[rest, 1] + 0 * times[:, None], atol=1e-12)


def test_who_leaves_is_not_seen_and_begins_anew_with_the_next_chunk() -> None:
    carried = points()
    carried.motion = CameraMotion((1.0, 0.0, 0.0))
    places, seen, _ = chunk(carried)
    left = places[..., 0] < 0.0
    assert np.array_equal(seen, ~left)
    gone = np.flatnonzero(left[-1])
    assert 0 < len(gone) < len(carried.grid)
    # even if the camera came back at once: what is out of sight is another thing when it returns
    carried.motion = CameraMotion((-1.0, 0.0, 0.0))
    again, seen, anew = chunk(carried)
    assert set(gone) <= set(anew)
    np.testing.assert_allclose(again[0, gone, 0], carried.grid[gone, 0] + 1 / FPS, atol=1e-12)


def test_within_a_chunk_nobody_comes_back_into_sight() -> None:
    carried = points()
    carried.motion = CameraMotion(rotation=(0.0, 0.0, 400.0))
    _, seen, _ = chunk(carried)
    assert (np.diff(seen.astype(int), axis=0) <= 0).all() and not seen[-1].all()


def test_a_quarter_begins_anew_at_a_time_so_that_a_dolly_back_leaves_no_hole() -> None:
    carried = points(9)
    carried.motion = CameraMotion((0.0, 0.0, -0.5))
    begun = [chunk(carried)[2] for _ in range(3 * TURN_CHUNKS)]
    cycle = begun[TURN_CHUNKS : 2 * TURN_CHUNKS]
    middle = [40]
    assert sorted(point for each in cycle for point in each) == [
        k for k in range(81) if k not in middle
    ]
    assert begun[2 * TURN_CHUNKS :] == cycle
    farthest = np.abs(carried.places - 0.5).max()
    assert farthest > 0.3, "there are points near the edges"


def test_who_is_held_stays_at_its_place() -> None:
    carried = points()
    carried.motion = CameraMotion((0.1, 0.0, 0.0))
    chunk(carried)
    held = np.arange(len(carried.grid)) < 10
    places, seen, anew = chunk(carried, held)
    assert set(np.flatnonzero(held)) <= set(anew), "they are something else now"
    assert (places[:, held] == carried.grid[held]).all() and seen[:, held].all()
    assert (places[-1, ~held] != carried.grid[~held]).any(axis=1).all()
    _, _, anew = chunk(carried, held)
    assert not set(np.flatnonzero(held)) & set(anew), "and stay it"


def test_a_saved_one_goes_on() -> None:
    carried, other = points(), points()
    carried.motion = CameraMotion((0.3, 0.1, 0.2), (1.0, 2.0, 30.0))
    for _ in range(3):
        chunk(carried)
    saved = {name: tensor.clone() for name, tensor in carried.tensors().items()}
    assert all(isinstance(tensor, torch.Tensor) for tensor in saved.values())
    other.load(saved, carried.metadata())
    for _ in range(6):
        for mine, theirs in zip(chunk(carried), chunk(other), strict=True):
            assert np.array_equal(mine, theirs)
