"""Pointer events as strokes, picture by picture."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollcast.models.contract import TrackEvent, TrackPhase
from rollcast.models.wan.handle_grid import Change, HandleGrid, Sample
from rollcast.models.wan.tracks.strokes import Stroke, Strokes


def event(key: int, phase: TrackPhase, x: float = 0.5, y: float = 0.5) -> TrackEvent:
    return TrackEvent(key, phase, x, y)


def run(strokes: Strokes, *events: TrackEvent, pictures: int = 12) -> list[dict[int, Stroke]]:
    strokes.ask(events)
    return strokes.follow(pictures)


def xs(shown: list[dict[int, Stroke]], key: int = 1) -> list[float | None]:
    """Where a track is in each picture, from left to right; None: nowhere."""
    return [None if key not in each else each[key].handle.position[0] for each in shown]


def test_a_drag_goes_straight_to_where_it_was_seen_last_and_stays_there() -> None:
    strokes = Strokes()
    shown = run(strokes, event(1, "down", 0.2), event(1, "move", 0.4, 0.7), pictures=5)
    assert xs(shown) == pytest.approx([0.2, 0.25, 0.3, 0.35, 0.4])
    ys = [each[1].handle.position[1] for each in shown]
    assert ys == pytest.approx([0.5, 0.55, 0.6, 0.65, 0.7])
    assert xs(run(strokes, pictures=4)) == pytest.approx([0.4] * 4)
    # the next move begins where the last one ended, and the handle remembers where it was taken
    shown = run(strokes, event(1, "move", 0.6, 0.7), pictures=3)
    assert xs(shown) == pytest.approx([0.4, 0.5, 0.6])
    assert {each[1].handle.anchor for each in shown} == {(0.2, 0.5)}


def test_several_moves_are_a_polyline_spread_evenly() -> None:
    shown = run(
        Strokes(),
        event(1, "down", 0.0),
        *(event(1, "move", x) for x in (0.3, 0.1, 0.9)),
        pictures=7,
    )
    wanted = np.interp(np.linspace(0, 1, 7), [0, 1 / 3, 2 / 3, 1], [0.0, 0.3, 0.1, 0.9])
    assert xs(shown) == pytest.approx(wanted.tolist())


def test_one_move_a_chunk_is_what_the_published_server_makes_of_a_sample_at_its_end() -> None:
    grid = HandleGrid({"1": (0.2, 0.3)}, radius=0.2, size=4)
    strokes = Strokes()
    run(strokes, event(1, "down", 0.2, 0.3))
    for number, (x, y) in enumerate([(0.4, 0.35), (0.9, 0.1), (0.0, 1.0)]):
        grid.ask(Change(number + 1, samples=(Sample("1", (x, y), 750.0),)), 0.0)
        grid.render(12, start_ms=0.0, end_ms=750.0)
        shown = run(strokes, event(1, "move", x, y))
        assert shown[-1][1].handle.anchor == grid.handles["1"].anchor
        assert shown[-1][1].handle.position == pytest.approx(grid.handles["1"].position, abs=1e-6)


def test_what_is_let_go_is_gone_in_the_chunk_that_hears_of_it() -> None:
    strokes = Strokes()
    run(strokes, event(1, "down", 0.2), event(1, "move", 0.4))
    assert xs(run(strokes, event(1, "up", 0.4))) == [None] * 12
    assert strokes.live == {}


def test_a_flick_within_a_chunk_is_seen() -> None:
    """A chunk is three quarters of a second, and a finger is quicker."""
    strokes = Strokes()
    shown = run(
        strokes, event(1, "down", 0.2), event(1, "move", 0.6), event(1, "up", 0.6), pictures=5
    )
    assert xs(shown) == pytest.approx([0.2, 0.3, 0.4, 0.5, 0.6])
    assert xs(run(strokes)) == [None] * 12


def test_a_click_does_nothing() -> None:
    assert xs(run(Strokes(), event(1, "down"), event(1, "up"))) == [None] * 12


def test_two_flicks_of_a_finger_follow_each_other() -> None:
    strokes = Strokes()
    shown = run(
        strokes,
        *(event(1, "down", 0.1), event(1, "move", 0.3), event(1, "up", 0.3)),
        *(event(1, "down", 0.8), event(1, "move", 0.6)),
        pictures=5,
    )
    assert xs(shown) == pytest.approx([0.1, 0.2, 0.8, 0.7, 0.6])
    assert [each[1].handle.anchor[0] for each in shown] == [0.1, 0.1, 0.8, 0.8, 0.8]
    assert strokes.live[1].handle.anchor == (0.8, 0.5)


def test_what_is_not_held_cannot_be_moved_or_released() -> None:
    strokes = Strokes()
    assert run(strokes, event(1, "move", 0.9), event(2, "up", 0.9)) == [{}] * 12
    # nor does it take time from what is
    shown = run(
        strokes,
        *(event(1, "move", 0.9), event(1, "down", 0.2), event(1, "move", 0.4)),
        pictures=3,
    )
    assert xs(shown) == pytest.approx([0.2, 0.3, 0.4])


def test_an_anchor_is_a_pin_that_can_be_moved() -> None:
    strokes = Strokes()
    shown = run(strokes, event(3, "anchor", 0.5), event(1, "down", 0.1))
    assert all(each[3].pinned and not each[1].pinned for each in shown)
    shown = run(strokes, event(3, "move", 0.7), pictures=3)
    assert xs(shown, 3) == pytest.approx([0.5, 0.6, 0.7])
    assert shown[2][3].pinned and shown[2][3].handle.anchor == (0.5, 0.5)
    # to press what is pinned takes hold of it anew
    shown = run(strokes, event(3, "down", 0.7))
    assert not shown[0][3].pinned and shown[0][3].handle.anchor == (0.7, 0.5)


def test_all_or_some_are_cleared_with_what_was_asked_of_them() -> None:
    strokes = Strokes()
    run(strokes, *(event(key, "down") for key in (1, 2, 3)))
    strokes.ask([event(1, "move", 0.9), event(2, "move", 0.9)])
    strokes.clear([1])
    assert sorted(strokes.live) == [2, 3]
    assert [each.id for each in strokes.waiting] == [2]
    strokes.clear(())
    assert sorted(strokes.live) == [2, 3]
    strokes.clear(None)
    assert strokes.live == {} and strokes.waiting == []


def test_the_first_picture_of_a_stream_waits() -> None:
    strokes = Strokes()
    assert run(strokes, event(1, "down", 0.2), event(1, "move", 0.4), pictures=1) == [{}]
    shown = run(strokes, event(1, "move", 0.6), pictures=5)
    assert xs(shown) == pytest.approx([0.2, 0.3, 0.4, 0.5, 0.6])


def test_all_of_it_is_in_plain_values() -> None:
    strokes = Strokes()
    run(strokes, event(1, "down", 0.2), event(1, "move", 0.35), event(2, "anchor", 0.9))
    strokes.ask([event(1, "move", 0.8), event(4, "down", 0.1)])
    other = Strokes.of(json.loads(json.dumps(strokes.plain())))
    assert other == strokes
    assert other.follow(7) == strokes.follow(7)
    assert other == strokes


PHASES: tuple[TrackPhase, ...] = ("down", "move", "move", "up", "anchor")
PLACES = st.floats(0, 1, width=32)
EVENTS = st.lists(
    st.builds(TrackEvent, st.integers(0, 3), st.sampled_from(PHASES), PLACES, PLACES), max_size=14
)


@given(events=EVENTS, data=st.data())
def test_how_events_of_different_tracks_are_mixed_makes_no_difference(
    events: list[TrackEvent], data: st.DataObject
) -> None:
    """Only the order of each track's own counts."""
    waiting = {key: [each for each in events if each.id == key] for key in range(4)}
    mixed: list[TrackEvent] = []
    while any(waiting.values()):
        key = data.draw(st.sampled_from([key for key, left in waiting.items() if left]))
        mixed.append(waiting[key].pop(0))
    one, two = Strokes(), Strokes()
    for _ in range(2):
        assert run(one, *events) == run(two, *mixed)
    assert one.live == two.live


@given(chunks=st.lists(EVENTS, max_size=4), pictures=st.integers(2, 13))
def test_what_is_held_is_what_the_events_say(chunks: list[list[TrackEvent]], pictures: int) -> None:
    """Whoever is held behind a chunk is in its last picture, where the last event put it."""
    strokes = Strokes()
    held: dict[int, tuple[float, float]] = {}
    for events in chunks:
        for each in events:
            if each.phase == "up":
                held.pop(each.id, None)
            elif each.phase != "move" or each.id in held:
                held[each.id] = (each.x, each.y)
        shown = run(strokes, *events, pictures=pictures)
        assert {key: each.handle.position for key, each in strokes.live.items()} == held
        for key, stroke in strokes.live.items():
            assert shown[-1][key] == stroke
