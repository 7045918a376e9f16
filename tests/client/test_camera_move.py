"""A camera's motion from a command line."""

from __future__ import annotations

import pytest

from rollcast.client.camera_move import camera_move


def test_moves_are_read_by_name() -> None:
    assert camera_move("forward=0.2, yaw=-15") == {"forward": 0.2, "yaw": -15.0}


@pytest.mark.parametrize("text", ["", "forward", "forward=", "forward=x", "sideways=1", "yaw=nan"])
def test_what_is_no_move_is_named_with_those_there_are(text: str) -> None:
    with pytest.raises(ValueError, match=r"forward=0\.2,yaw=15, of right, down"):
        camera_move(text)
