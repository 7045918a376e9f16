"""Things never lie over each other when there is room, and what is held does not give way."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rollcast.models.pocket.collisions import push_apart

RADIUS = np.array([18.0, 22.0, 20.0])
_places = st.lists(st.tuples(st.floats(40, 152), st.floats(40, 152)), min_size=3, max_size=3).map(
    lambda points: np.array(points)
)


@given(_places, st.integers(0, 2))
@example(np.array([[40.0, 75.0], [40.0, 40.0], [40.0, 40.0]]), 0)
def test_they_touch_at_most_and_stay_in_the_frame(places: np.ndarray, held: int) -> None:
    firm = np.arange(3) == held
    moved = push_apart(places, RADIUS, firm)
    assert np.array_equal(moved[held], places[held])
    assert (moved > 0.49 * RADIUS[:, None]).all() and (moved < 192 - 0.49 * RADIUS[:, None]).all()
    for a in range(3):
        for b in range(a):
            before = np.hypot(*(places[a] - places[b]))
            after = np.hypot(*(moved[a] - moved[b]))
            # what a third thing or the border leaves of an overlap is small
            assert after > min(RADIUS[a] + RADIUS[b], before) - 0.25 * RADIUS[a]


def test_what_does_not_touch_stays() -> None:
    places = np.array([[30.0, 30.0], [100.0, 100.0], [160.0, 40.0]])
    assert np.array_equal(push_apart(places, RADIUS, np.zeros(3, bool)), places)


def test_two_in_one_place_are_parted() -> None:
    places = np.array([[96.0, 96.0], [96.0, 96.0], [20.0, 20.0]])
    moved = push_apart(places, RADIUS, np.array([True, False, False]))
    assert np.array_equal(moved[0], places[0])
    assert np.isclose(np.hypot(*(moved[1] - moved[0])), 40)


@pytest.mark.parametrize("aside", [0.0, 0.001])
def test_what_is_pushed_along_one_line_gets_out_sideways(aside: float) -> None:
    """Between what is held and a thing at the border there is no room; beside them there is."""
    places = np.array([[40.0, 75.0], [40.0 + aside, 11.0], [40.0, 45.0]])
    moved = push_apart(places, RADIUS, np.array([True, False, False]))
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert np.hypot(*(moved[a] - moved[b])) > RADIUS[a] + RADIUS[b] - 2


def test_what_is_pushed_into_a_corner_goes_round() -> None:
    places = np.array([[25.0, 25.0], [11.0, 11.0], [150.0, 150.0]])
    moved = push_apart(places, RADIUS, np.array([True, False, False]))
    assert np.isclose(np.hypot(*(moved[0] - moved[1])), 40)
    assert np.isclose(moved[1], 11).sum() == 1


def test_without_room_beside_others_a_thing_stays_between_them() -> None:
    """Three large ones: more than the frame can hold."""
    large = np.array([80.0, 80.0, 80.0])
    places = np.array([[60.0, 60.0], [130.0, 130.0], [96.0, 96.0]])
    held = np.array([True, True, False])
    moved = push_apart(places, large, held)
    assert np.array_equal(moved[:2], places[:2])
    assert (moved >= 40).all() and (moved <= 152).all()


def test_one_thing_alone_stays() -> None:
    alone = np.array([[30.0, 30.0]])
    assert np.array_equal(push_apart(alone, RADIUS[:1], np.zeros(1, bool)), alone)


def test_held_things_may_overlap() -> None:
    places = np.array([[90.0, 96.0], [100.0, 96.0], [20.0, 20.0]])
    assert np.array_equal(push_apart(places, RADIUS, np.array([True, True, False])), places)


def test_they_may_go_as_far_out_as_a_camera_sees() -> None:
    loose = np.zeros(3, bool)
    places = np.array([[9.0 - 24, 96.0], [96.0, 192.0 - 11 + 10], [150.0, 30.0]])
    assert np.array_equal(push_apart(places, RADIUS, loose, (24.0, 10.0)), places)
    met = np.array([[9.0 - 24, 96.0], [10.0, 96.0], [150.0, 30.0]])
    moved = push_apart(met, RADIUS, loose, (24.0, 10.0))
    assert moved[0, 0] == 9 - 24 and np.hypot(*(moved[1] - moved[0])) > 39.9
