"""LiveKit Agents with unchanged plugins speak through `rollcast livekit`, in real rooms."""

from __future__ import annotations

from typing import Any

import pytest

from ..lateness import BUSY_MS
from ..peers import PYTHON, come_to_rooms, run_scene
from .viewer import SDK

pytestmark = [
    pytest.mark.peers,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not PYTHON.exists(), reason="make peers has not installed LiveKit Agents"),
]

PLAN = [
    [300, 1.5, None],
    [500, 5, 1.5],
    [700, 4, 0.9],
    [900, 4, 0.9],
    [1100, 4, 0.9],
    [1300, 1.2, None],
]
"""A whole sentence, one cut in its middle, three cut in a row, a whole one."""


def finished(room: dict[str, Any]) -> list[tuple[float, bool]]:
    return [(each[2], each[3]) for each in room["told"] if each[1] == "finished"]


def check_speech(room: dict[str, Any], plan: list[list[Any]], late_ms: float) -> None:
    """Every sentence is heard as far as it was not cut, and beside its picture.

    The latter only if the machine woke processes no more than `BUSY_MS` late.
    """
    assert room["kinds"] == ["audio", "video"]
    assert len(room["sentences"]) == len(plan)
    quiet = True
    for (_, seconds, cut), sentence in zip(plan, room["sentences"], strict=True):
        was_quiet, quiet = quiet, cut is None
        if sentence["sound_ms"] is None:
            # on a busy machine the cut comes before the first sound
            assert cut is not None, sentence
            continue
        # after a cut the mouth of the sentence before may still be open
        busy = late_ms > BUSY_MS or not was_quiet
        assert busy or abs(sentence["skew_ms"]) <= 80, sentence
        if cut is None:
            assert seconds - 0.06 <= sentence["heard_s"] <= seconds + 0.5, sentence
        else:
            assert sentence["heard_s"] < seconds - 1, sentence
    assert late_ms > BUSY_MS or room["gaps"] <= 0.02 * room["frames"]


def test_an_agent_with_bithumans_plugin_knows_what_was_heard() -> None:
    report = run_scene("bithuman", 1, PLAN, short=12)
    (room,) = report["rooms"]
    check_speech(room, PLAN, report["late_ms"])
    # one for each, in order, and with what reached the room of it
    told = finished(room)
    assert [was_cut for _, was_cut in told] == [cut is not None for *_, cut in PLAN]
    for (position_s, _), sentence in zip(told, room["sentences"], strict=True):
        # heard in pieces of 20 ms, of which a busy machine makes more
        assert position_s == pytest.approx(sentence["heard_s"], abs=0.3)
    assert [each[2] for each in room["told"] if each[1] == "over"] == [c for _, c in told]
    assert report["streams_left"] == 0
    early, late = report["held"]
    assert late["files"] <= early["files"] + 4
    assert late["threads"] <= early["threads"] + 4
    assert late["megabytes"] <= early["megabytes"] + 30


def test_an_agent_with_liveavatars_plugin_is_never_stuck() -> None:
    report = run_scene("liveavatar", 1, PLAN)
    (room,) = report["rooms"]
    check_speech(room, PLAN, report["late_ms"])
    assert [was_cut for _, was_cut in finished(room)] == [cut is not None for *_, cut in PLAN]
    assert report["streams_left"] == 0


@pytest.mark.skipif(not SDK.exists(), reason="livekit-client is not installed (make types)")
def test_a_browser_in_the_room_sees_and_hears_the_avatar() -> None:
    report = run_scene("bithuman", 1, PLAN[:2], watch=True)
    (room,) = report["rooms"]
    viewer = room["viewer"]
    assert (viewer["kinds"], viewer["errors"]) == (["audio", "video"], [])
    assert viewer["heard"] == [300, 500]
    # how many are drawn is the machine's business; that they are in order and go on is not
    assert viewer["backwards"] == 0
    assert viewer["span"] > 75
    assert viewer["frames"] > 25
    assert viewer["silent_ms"][0] < 2_000 < 1e3 * (PLAN[1][1] - PLAN[1][2])
    assert report["streams_left"] == 0


def test_one_worker_serves_several_rooms() -> None:
    plan = [[300, 1.5, None], [500, 5, 1.5]]
    report = run_scene("bithuman", 3, plan)
    assert len(report["rooms"]) == 3
    for room in report["rooms"]:
        check_speech(room, plan, report["late_ms"])
        assert [was_cut for _, was_cut in finished(room)] == [False, True]
    assert report["streams_left"] == 0


def test_the_example_is_an_agent_as_workers_run_them() -> None:
    report = run_scene("example", 1, 8)
    (room,) = report["rooms"]
    assert room["kinds"] == ["audio", "video"]
    assert 1.0 <= room["loud_s"] <= 4.0  # its greeting
    assert room["frames"] > 50
    assert report["streams_left"] == 0


def test_a_hundred_avatars_leave_nothing_behind() -> None:
    early, *_, late = come_to_rooms(100)
    for what in ("tasks", "files", "threads"):
        assert late[what] <= early[what] + 2, (early, late)
    assert late["objects"] <= early["objects"] + 1_000, (early, late)
    # of each room LiveKit's SDK itself keeps a megabyte
    assert late["megabytes"] <= early["megabytes"] + 100, (early, late)
