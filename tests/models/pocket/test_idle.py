"""What a face does by itself: bounded, reproducible, its eyes on the viewer."""

import json

import numpy as np
import pytest

from rollcast.models.pocket.idle import NOD, POSE, AvatarMotion

YAW, PITCH, GAZE_X, GAZE_Y = (POSE.index(name) for name in ("yaw", "pitch", "gaze_x", "gaze_y"))


def _minutes(seed: int, nod: float = 0.0) -> np.ndarray:
    avatar = AvatarMotion.seeded(seed)
    return np.array([avatar.step(0, None, nod) for _ in range(25 * 180)])


def test_saved_motion_goes_on_as_if_never_stopped() -> None:
    avatar = AvatarMotion.seeded(5)
    avatar.step(0.5, (0.2, 0.1), 0.05)
    copy = AvatarMotion.load(json.loads(json.dumps(avatar.save())))
    assert np.array_equal(avatar.step(0.1, None), copy.step(0.1, None))


def test_blinks_happen_every_few_seconds() -> None:
    blink = _minutes(2)[:, 5]
    starts = ((blink[1:] > 0) & (blink[:-1] == 0)).sum()
    assert 30 <= starts <= 90


def test_an_idle_head_wanders_smoothly_about_the_middle() -> None:
    pose = _minutes(3)[:, :3]
    assert np.abs(pose.mean(0)).max() < 0.02
    assert np.abs(pose).max() < 0.42, "poses the model knows"
    assert np.abs(np.diff(pose, axis=0)).max() < 0.05


def test_eyes_stay_on_the_viewer() -> None:
    """Yaw is to the subject's left as gaze is; pitch is downwards and gaze upwards."""
    moved = _minutes(4)
    assert np.corrcoef(moved[:, YAW], moved[:, GAZE_X])[0, 1] < -0.2
    assert np.corrcoef(moved[:, PITCH], moved[:, GAZE_Y])[0, 1] > 0.2


@pytest.mark.parametrize("name", NOD)
def test_an_expression_lowers_or_lifts_the_head_and_not_the_eyes(name: str) -> None:
    plain, nodding = _minutes(5), _minutes(5, NOD[name])
    assert nodding[:, PITCH] - plain[:, PITCH] == pytest.approx(NOD[name])
    lifted = nodding[:, GAZE_Y] - plain[:, GAZE_Y]
    assert np.sign(lifted).mean() == np.sign(NOD[name])
    assert np.abs(lifted).max() < abs(NOD[name])


def test_whoever_drags_a_head_decides_alone() -> None:
    avatar = AvatarMotion.seeded(6)
    for _ in range(40):
        pose = avatar.step(0, (0.2, -0.1), NOD["sad"])
    assert pose[:2] == pytest.approx((0.2, -0.1), abs=1e-3)
