"""Things never lie over each other when there is room, and what is held does not give way."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rollcast.models.pocket.collisions import push_apart

RADIUS = np.array([18.0, 22.0, 20.0])
_places = st.lists(st.tuples(st.floats(40, 152), st.floats(40, 152)), min_size=3, max_size=3).map(
    lambda points: np.array(points)
)


@given(_places, st.integers(0, 2))
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
