"""Who is stepped, and who is let in."""

import pytest

from rollcast.server.engine.scheduler import (
    Candidate,
    ModelLoad,
    admit,
    capacity,
    free_places,
    pick,
)
from rollcast.server.protocol.errors import Capacity

FAST = ModelLoad("fast", step_s=0.016, chunk_s=0.16, slack_s=0.112)
HALF = ModelLoad("half", step_s=0.08, chunk_s=0.16, slack_s=0.112)
SLOW = ModelLoad("slow", step_s=0.3, chunk_s=0.16, slack_s=0.112)


def test_the_viewer_who_runs_dry_first_is_served_first() -> None:
    assert pick([Candidate("a", 5.0), Candidate("b", 4.9), Candidate("c", 6.0)]) == "b"
    assert pick([]) is None


def test_equal_deadlines_are_decided_the_same_way_every_time() -> None:
    assert pick([Candidate("b", 5.0), Candidate("a", 5.0)]) == "a"


def test_earliest_deadline_serves_all_in_time_when_that_is_possible() -> None:
    """Three streams at 90 % load, simulated for 30 s: nobody runs dry."""
    step_s, chunk_s = 0.048, 0.16
    dry_s = {name: 0.16 + 0.03 * n for n, name in enumerate("abc")}
    now_s = 0.0
    while now_s < 30:
        due = [Candidate(name, at) for name, at in dry_s.items() if at - now_s <= chunk_s]
        chosen = pick(due)
        if chosen is None:
            now_s += 0.001
            continue
        now_s += step_s
        assert now_s <= dry_s[chosen] + 1e-9
        dry_s[chosen] += chunk_s


@pytest.mark.parametrize(("load", "places"), [(FAST, 9), (HALF, 1), (SLOW, 1)])
def test_capacity_is_what_is_made_in_time(load: ModelLoad, places: int) -> None:
    assert capacity(load) == places
    for running in range(places):
        admit(load, [load] * running, max_sessions=None, frees_in_s=None)
    with pytest.raises(Capacity) as caught:
        admit(load, [load] * places, max_sessions=None, frees_in_s=None)
    assert caught.value.retry_after_s == 15.0


def test_streams_of_different_models_share_the_machine() -> None:
    admit(FAST, [HALF], max_sessions=None, frees_in_s=None)
    with pytest.raises(Capacity):
        admit(HALF, [FAST] * 5, max_sessions=None, frees_in_s=None)


def test_a_chunk_may_have_to_wait_for_one_of_each_other_model() -> None:
    """The machine has the time; but both at once would end after the first one's slack."""
    large = ModelLoad("large", step_s=0.1, chunk_s=0.75, slack_s=0.525)
    small = ModelLoad("small", step_s=0.016, chunk_s=0.16, slack_s=0.112)
    with pytest.raises(Capacity):
        admit(small, [large], max_sessions=None, frees_in_s=None)
    with pytest.raises(Capacity):
        admit(large, [small], max_sessions=None, frees_in_s=None)
    assert free_places(large, [large], max_sessions=None) == 5


@pytest.mark.parametrize("load", [FAST, HALF, SLOW])
@pytest.mark.parametrize("limit", [None, 3])
def test_free_places_are_those_that_would_be_given(load: ModelLoad, limit: int | None) -> None:
    running: list[ModelLoad] = []
    for free in range(free_places(load, [], max_sessions=limit), 0, -1):
        assert free_places(load, running, max_sessions=limit) == free
        admit(load, running, max_sessions=limit, frees_in_s=None)
        running.append(load)
    assert free_places(load, running, max_sessions=limit) == 0
    with pytest.raises(Capacity):
        admit(load, running, max_sessions=limit, frees_in_s=None)


def test_a_set_limit_replaces_the_measured_one() -> None:
    admit(SLOW, [SLOW], max_sessions=2, frees_in_s=None)
    with pytest.raises(Capacity):
        admit(FAST, [FAST], max_sessions=1, frees_in_s=None)


@pytest.mark.parametrize(("frees_in_s", "retry_s"), [(7.0, 7.0), (0.1, 1.0), (29.0, 15.0)])
def test_the_time_to_retry_is_when_a_place_becomes_free(frees_in_s: float, retry_s: float) -> None:
    with pytest.raises(Capacity) as caught:
        admit(FAST, [FAST], max_sessions=1, frees_in_s=frees_in_s)
    assert caught.value.retry_after_s == retry_s
