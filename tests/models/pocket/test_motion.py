"""Drags, anchors and idle motion: bounded, eased, reproducible."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollcast.models.pocket.idle import AvatarMotion
from rollcast.models.pocket.motion import (
    HeadDrag,
    SceneMotion,
    SceneObject,
    motion_draft,
    track_map,
)
from rollcast.models.stream import TrackEvent

OBJECTS = (
    SceneObject("ball", (32.0, 40.0), 12.0),
    SceneObject("cube", (90.0, 90.0), 12.0),
)


def _at(track: int, phase: str, x: float, y: float) -> TrackEvent:
    return TrackEvent(track, phase, x / 128, y / 128)  # pyright: ignore[reportArgumentType]


def test_a_dragged_object_reaches_the_finger_and_stays_after_release() -> None:
    motion = SceneMotion.seeded(OBJECTS, 1)
    motion.receive(_at(1, "down", 34, 41))
    motion.receive(_at(1, "move", 84, 21))
    path = np.array([motion.step() for _ in range(40)])
    # the finger holds it 2 px right of and 1 px below its centre
    assert path[-1, 0] == pytest.approx([82, 20], abs=0.5)
    assert np.abs(np.diff(path[:, 0], axis=0)).max() <= 4.5
    motion.receive(_at(1, "up", 84, 21))
    rest = np.array([motion.step() for _ in range(200)])[:, 0]
    assert np.abs(rest - [82, 20]).max() < 8
    assert np.abs(path[:, 1] - OBJECTS[1].home).max() < 8


def test_a_press_on_nothing_holds_nothing() -> None:
    motion = SceneMotion.seeded(OBJECTS, 1)
    motion.receive(_at(1, "down", 64, 64))
    motion.receive(_at(1, "move", 10, 10))
    assert not motion.grabs


def test_an_anchor_stops_the_drift() -> None:
    motion = SceneMotion.seeded(OBJECTS, 1)
    motion.receive(_at(1, "anchor", 32, 40))
    motion.receive(_at(1, "up", 32, 40))
    path = np.array([motion.step() for _ in range(100)])
    assert np.ptp(path[:, 0], axis=0).max() < 1e-6
    assert np.ptp(path[:, 1], axis=0).max() > 0.3


def test_release_of_all_sends_everything_home() -> None:
    motion = SceneMotion.seeded(OBJECTS, 1)
    motion.receive(_at(1, "down", 32, 40))
    motion.receive(_at(1, "move", 100, 20))
    for _ in range(40):
        motion.step()
    motion.release(None)
    for _ in range(60):
        position = motion.step()
    assert np.abs(position[0] - OBJECTS[0].home).max() < 6


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.sampled_from(["down", "move", "up", "anchor"]),
            st.floats(0, 128),
            st.floats(0, 128),
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
        assert np.hypot(*(position - last).T).max() <= 4.5 + 1e-9
        assert position.min() > -10 and position.max() < 138
        last = position


def test_saved_motion_goes_on_as_if_never_stopped() -> None:
    motion = SceneMotion.seeded(OBJECTS, 5)
    motion.receive(_at(7, "down", 90, 90))
    motion.step()
    again = SceneMotion.load(json.loads(json.dumps(motion.save())), OBJECTS)
    assert np.array_equal(motion.step(), again.step())
    avatar = AvatarMotion.seeded(5)
    avatar.step(0.5, (0.2, 0.1))
    copy = AvatarMotion.load(json.loads(json.dumps(avatar.save())))
    assert np.array_equal(avatar.step(0.1, None), copy.step(0.1, None))


def test_a_head_follows_a_drag_and_returns() -> None:
    drag, avatar = HeadDrag((22.0, 22.0)), AvatarMotion.seeded(1)
    drag.receive(_at(1, "down", 64, 64))
    drag.receive(_at(1, "move", 70, 64))
    target = drag.target()
    assert target == pytest.approx((6 / 22, 0))
    for _ in range(30):
        pose = avatar.step(0, drag.target())
    assert pose[:2] == pytest.approx(target, abs=0.02)
    drag.receive(_at(1, "up", 70, 64))
    assert drag.target() is None
    assert abs(avatar.step(0, None)[0] - pose[0]) < 0.1


def test_head_drag_is_limited_to_poses_the_model_knows() -> None:
    drag = HeadDrag((22.0, 22.0))
    drag.receive(_at(1, "down", 0, 0))
    drag.receive(_at(1, "move", 128, 128))
    assert drag.target() == (0.42, 0.24)


def test_blinks_happen_every_few_seconds() -> None:
    avatar = AvatarMotion.seeded(2)
    blink = np.array([avatar.step(0, None)[5] for _ in range(25 * 60)])
    starts = ((blink[1:] > 0) & (blink[:-1] == 0)).sum()
    assert 10 <= starts <= 30


def test_track_map_says_where_from_and_which() -> None:
    current = np.full((1, 2, 2), np.nan)
    current[0, 0] = (41, 17)
    drawn = track_map(current, np.array([[32.0, 40.0], [90.0, 90.0]]), scale=16)
    assert drawn.shape == (1, 5, 16, 16)
    cell = drawn[0, :, 2, 5].tolist()
    assert cell == pytest.approx([-9 / 16, 23 / 16, -0.5, -0.375, 1])
    assert drawn.abs().sum() == pytest.approx(sum(abs(v) for v in cell))


def test_motion_draft_moves_the_cells_around_an_object_and_no_others() -> None:
    drafted = motion_draft(np.array([[[62.0, 30.0], [90.0, 90.0]]]), OBJECTS)
    assert drafted.shape == (1, 2, 16, 16)
    # cell (3, 7) covers x 56..64, y 24..32: inside the moved ball
    assert drafted[0, :, 3, 7].tolist() == [-30, 10]
    assert not drafted[0, :, 11, 11].any()  # the cube rests at home
    assert not drafted[0, :, 15, 0].any()


def test_motion_draft_gives_an_overlap_to_the_object_in_front() -> None:
    both_here = np.array([[[64.0, 64.0], [66.0, 64.0]]])
    drafted = motion_draft(both_here, OBJECTS)
    assert drafted[0, :, 8, 8].tolist() == [24, 26]  # the cube, drawn later
