"""Drags, anchors and idle motion: bounded, eased, reproducible."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollcast.models.contract import TrackEvent
from rollcast.models.pocket.idle import AvatarMotion
from rollcast.models.pocket.motion import (
    HeadDrag,
    SceneMotion,
    SceneObject,
    camera_way,
    motion_draft,
    object_tracks,
    track_map,
)

OBJECTS = (
    SceneObject("ball", (48.0, 60.0), 18.0),
    SceneObject("cube", (135.0, 135.0), 18.0),
)


def _at(track: int, phase: str, x: float, y: float) -> TrackEvent:
    return TrackEvent(track, phase, x / 192, y / 192)  # pyright: ignore[reportArgumentType]


def test_a_dragged_object_reaches_the_finger_and_stays_after_release() -> None:
    motion = SceneMotion.seeded(OBJECTS, 1)
    motion.receive(_at(1, "down", 51, 61.5))
    motion.receive(_at(1, "move", 126, 31.5))
    path = np.array([motion.step() for _ in range(40)])
    # the finger holds it 3 px right of and 1.5 px below its centre
    assert path[-1, 0] == pytest.approx([123, 30], abs=0.75)
    assert np.abs(np.diff(path[:, 0], axis=0)).max() <= 6.75
    motion.receive(_at(1, "up", 126, 31.5))
    rest = np.array([motion.step() for _ in range(200)])[:, 0]
    assert np.abs(rest - [123, 30]).max() < 12
    assert np.abs(path[:, 1] - OBJECTS[1].home).max() < 12


def test_a_thing_in_the_way_is_pushed_aside_and_stays_there() -> None:
    motion = SceneMotion.seeded(OBJECTS, 1)
    motion.receive(_at(1, "down", 48, 60))
    motion.receive(_at(1, "move", 130, 130))
    first, second = np.array([motion.step() for _ in range(60)])[-1]
    assert first == pytest.approx([130, 130], abs=0.5)
    assert np.hypot(*(second - first)) > 35.9
    motion.receive(_at(1, "up", 130, 130))
    path = np.array([motion.step() for _ in range(200)])
    assert np.hypot(*(path[:, 0] - path[:, 1]).T).min() > 35.9
    assert np.abs(path[:, 0] - [130, 130]).max() < 12


def test_a_press_on_nothing_holds_nothing() -> None:
    motion = SceneMotion.seeded(OBJECTS, 1)
    motion.receive(_at(1, "down", 96, 96))
    motion.receive(_at(1, "move", 15, 15))
    assert not motion.grabs


def test_an_anchor_stops_the_drift() -> None:
    motion = SceneMotion.seeded(OBJECTS, 1)
    motion.receive(_at(1, "anchor", 48, 60))
    motion.receive(_at(1, "up", 48, 60))
    path = np.array([motion.step() for _ in range(100)])
    assert np.ptp(path[:, 0], axis=0).max() < 1e-6
    assert np.ptp(path[:, 1], axis=0).max() > 0.45


def test_release_of_all_sends_everything_home() -> None:
    motion = SceneMotion.seeded(OBJECTS, 1)
    motion.receive(_at(1, "down", 48, 60))
    motion.receive(_at(1, "move", 150, 30))
    for _ in range(40):
        motion.step()
    motion.release(None)
    for _ in range(60):
        position = motion.step()
    assert np.abs(position[0] - OBJECTS[0].home).max() < 9


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.sampled_from(["down", "move", "up", "anchor"]),
            st.floats(0, 192),
            st.floats(0, 192),
        ),
        max_size=30,
    )
)
def test_any_events_keep_objects_in_the_frame_and_slow(
    events: list[tuple[int, str, float, float]],
) -> None:
    motion = SceneMotion.seeded(OBJECTS, 3)
    last = motion.position.copy()
    for event in events:
        motion.receive(_at(*event))
        position = motion.step()
        assert np.hypot(*(position - last).T).max() <= 6.75 + 1e-9
        assert position.min() > -15 and position.max() < 207
        last = position


def test_saved_motion_goes_on_as_if_never_stopped() -> None:
    motion = SceneMotion.seeded(OBJECTS, 5)
    motion.receive(_at(7, "down", 135, 135))
    motion.step()
    again = SceneMotion.load(json.loads(json.dumps(motion.save())), OBJECTS)
    assert np.array_equal(motion.step(), again.step())


def test_a_head_follows_a_drag_and_returns() -> None:
    drag, avatar = HeadDrag((33.0, 33.0)), AvatarMotion.seeded(1)
    drag.receive(_at(1, "down", 96, 96))
    drag.receive(_at(1, "move", 105, 96))
    target = drag.target()
    assert target == pytest.approx((9 / 33, 0))
    for _ in range(30):
        pose = avatar.step(0, drag.target())
    assert pose[:2] == pytest.approx(target, abs=0.02)
    drag.receive(_at(1, "up", 105, 96))
    assert drag.target() is None
    assert abs(avatar.step(0, None)[0] - pose[0]) < 0.1


def test_head_drag_is_limited_to_poses_the_model_knows() -> None:
    drag = HeadDrag((33.0, 33.0))
    drag.receive(_at(1, "down", 0, 0))
    drag.receive(_at(1, "move", 192, 192))
    assert drag.target() == (0.42, 0.24)


def test_track_map_says_where_from_and_which() -> None:
    current = np.full((1, 2, 2), np.nan)
    current[0, 0] = (61.5, 25.5)
    drawn = track_map(current, np.array([[48.0, 60.0], [135.0, 135.0]]), scale=24)
    assert drawn.shape == (1, 5, 16, 16)
    cell = drawn[0, :, 2, 5].tolist()
    assert cell == pytest.approx([-13.5 / 24, 34.5 / 24, -0.5, -0.375, 1])
    assert drawn.abs().sum() == pytest.approx(sum(abs(v) for v in cell))


def test_motion_draft_moves_the_cells_around_an_object_and_no_others() -> None:
    drafted = motion_draft(np.array([[[93.0, 45.0], [135.0, 135.0]]]), OBJECTS)
    assert drafted.shape == (1, 2, 16, 16)
    # cell (3, 7) covers x 84..96, y 36..48: inside the moved ball
    assert drafted[0, :, 3, 7].tolist() == [-45, 15]
    assert not drafted[0, :, 11, 11].any()  # the cube rests at home
    assert not drafted[0, :, 15, 0].any()


def test_motion_draft_gives_an_overlap_to_the_object_in_front() -> None:
    both_here = np.array([[[96.0, 96.0], [99.0, 96.0]]])
    drafted = motion_draft(both_here, OBJECTS)
    assert drafted[0, :, 8, 8].tolist() == [36, 39]  # the cube, drawn later


WORLD = (*OBJECTS, SceneObject("view", (96.0, 100.0), 18.0, (24.0, 10.0)))


def _dragged(motion: SceneMotion, start: tuple[float, float], end: tuple[float, float]):
    motion.receive(_at(1, "down", *start))
    motion.receive(_at(1, "move", *end))
    return np.array([motion.step() for _ in range(40)])


def test_who_takes_hold_of_nothing_pans_all_that_rests() -> None:
    motion = SceneMotion.seeded(WORLD, 1)
    before = motion.step()
    seen = _dragged(motion, (20, 180), (38, 174))[-1]
    assert seen[2] == pytest.approx(before[2] + [18, -6], abs=0.5)
    # things drift a little in the world, and keep their places there
    assert np.abs(seen[:2] - before[:2] - [18, -6]).max() < 6
    motion.receive(_at(1, "up", 38, 174))
    rest = np.array([motion.step() for _ in range(100)])[:, 2]
    assert np.abs(rest - WORLD[2].home - [18, -6]).max() < 8


def test_the_camera_goes_no_further_than_it_can() -> None:
    motion = SceneMotion.seeded(WORLD, 2)
    seen = _dragged(motion, (20, 180), (180, 20))
    assert seen[-1, 2] == pytest.approx([96 + 24, 100 - 10])
    motion.receive(_at(1, "up", 180, 20))
    off = np.array([motion.step() for _ in range(300)])[:, 2] - WORLD[2].home
    assert (np.abs(off) <= [24 + 1e-9, 10 + 1e-9]).all()


def test_a_thing_goes_with_the_finger_wherever_the_camera_looks() -> None:
    motion = SceneMotion.seeded(WORLD, 1)
    _dragged(motion, (20, 180), (40, 180))
    motion.receive(_at(1, "up", 40, 180))
    ball = motion.step()[0]
    seen = _dragged(motion, tuple(ball), (160, 60))[-1]
    assert motion.grabs[1].thing == 0
    assert seen[0] == pytest.approx([160, 60], abs=1.5)
    assert np.abs(seen[2] - WORLD[2].home - [20, 0]).max() < 8


def test_a_held_thing_stays_under_its_finger_while_another_finger_pans() -> None:
    motion = SceneMotion.seeded(WORLD, 1)
    motion.receive(_at(7, "down", 48, 60))
    for x in range(20, 44):
        motion.receive(_at(1, "down" if x == 20 else "move", x, 180))
        motion.step()
    for _ in range(20):
        seen = motion.step()
    assert seen[0] == pytest.approx([48, 60], abs=0.5)
    assert seen[2, 0] > 96 + 20


def test_the_view_pushes_nothing_and_is_not_pushed() -> None:
    motion = SceneMotion.seeded(WORLD, 1)
    seen = _dragged(motion, (48, 60), (96, 100))[-1]
    assert motion.grabs[1].thing == 0
    assert seen[0] == pytest.approx([96, 100], abs=0.5)
    assert np.abs(seen[2] - WORLD[2].home).max() < 8


def test_release_of_all_brings_the_camera_home() -> None:
    motion = SceneMotion.seeded(WORLD, 1)
    _dragged(motion, (20, 180), (40, 180))
    motion.release(None)
    seen = np.array([motion.step() for _ in range(60)])[-1]
    assert np.abs(seen - [thing.home for thing in WORLD]).max() < 9


def test_saved_panning_goes_on_as_if_never_stopped() -> None:
    motion = SceneMotion.seeded(WORLD, 5)
    _dragged(motion, (20, 180), (40, 180))
    again = SceneMotion.load(json.loads(json.dumps(motion.save())), WORLD)
    assert np.array_equal(motion.step(), again.step())


def test_motion_draft_moves_the_ground_with_the_camera() -> None:
    # the camera went so far that all is seen 10 px further right, and the ball has moved besides
    current = np.array([[[93.0, 45.0], [145.0, 135.0], [106.0, 100.0]]])
    drafted, way = motion_draft(current, WORLD), camera_way(current, WORLD)
    assert way.tolist() == [[-10, 0]]
    assert drafted[0, :, 3, 7].tolist() == [-45, 15]
    for row, column in ((11, 12), (8, 8), (15, 0)):  # the resting cube, the view, the ground
        assert drafted[0, :, row, column].tolist() == [-10, 0]
    assert not camera_way(current[:, :2], OBJECTS).any()


def test_a_thing_before_the_view_is_what_the_track_map_says() -> None:
    here = np.array([[[97.0, 101.0], [135.0, 135.0], [96.0, 100.0]]])
    drawn = object_tracks(here, WORLD, scale=24)
    assert drawn[0, :2, 8, 8].tolist() == pytest.approx([-49 / 24, -41 / 24])
    assert drawn[0, 4].sum() == 2
