"""The line of those who wait for a place: who is next, and who keeps his turn."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollcast.server.engine.waiting_line import LATEST, Ticket, WaitingLine
from rollcast.server.protocol.errors import Capacity


def line(most: int = 4, most_per_key: int = 4) -> WaitingLine:
    return WaitingLine(most=most, most_per_key=most_per_key, max_wait_s=60.0, grace_s=10.0)


def names(tickets: list[Ticket]) -> list[str]:
    return [ticket.name for ticket in tickets]


def test_who_comes_first_is_served_first() -> None:
    waiting = line()
    ann, bob, cid = (waiting.join(name, "address", 0.0) for name in ("ann", "bob", "cid"))
    assert [waiting.position(each) for each in (ann, bob, cid)] == [1, 2, 3]
    waiting.leave(bob)
    waiting.leave(bob)
    assert (names(waiting.present()), waiting.position(cid)) == (["ann", "cid"], 2)


def test_a_full_line_takes_nobody_and_one_client_does_not_fill_it() -> None:
    waiting = line(most=3, most_per_key=2)
    waiting.join("a1", "ann", 0.0)
    second = waiting.join("a2", "ann", 0.0)
    with pytest.raises(Capacity, match="2 of one client"):
        waiting.join("a3", "ann", 0.0)
    waiting.join("b1", "bob", 0.0)
    with pytest.raises(Capacity, match="3 wait already") as full:
        waiting.join("c1", "cid", 0.0)
    assert (full.value.close_code, full.value.fatal) == (4429, True)
    assert full.value.retry_after_s
    waiting.leave(second)
    assert names([waiting.join("c1", "cid", 0.0)]) == ["c1"]


def test_who_is_lost_keeps_the_turn_for_a_while_and_others_are_served() -> None:
    waiting = line()
    ann, bob = waiting.join("ann", "k", 0.0), waiting.join("bob", "k", 0.0)
    waiting.lose(ann, 5.0)
    assert (names(waiting.present()), waiting.position(bob)) == (["bob"], 2)
    assert waiting.find("ann", "another") is None, "of another client it is no turn"
    assert waiting.find(None, "k") is None
    assert waiting.find("ann", "k") is ann
    waiting.come_back(ann)
    assert names(waiting.present()) == ["ann", "bob"]
    waiting.lose(ann, 20.0)
    assert waiting.overdue(29.9) == [] and len(waiting) == 2
    assert waiting.overdue(30.0) == [] and len(waiting) == 1
    assert waiting.position(bob) == 1


def test_turns_that_nobody_came_back_to_make_room() -> None:
    waiting = line(most=1)
    waiting.lose(waiting.join("ann", "k", 0.0), 1.0)
    with pytest.raises(Capacity):
        waiting.join("bob", "k", 10.9)
    waiting.join("bob", "k", 11.0)


def test_who_was_lost_just_before_taking_a_place_is_first_again() -> None:
    waiting = line()
    ann = waiting.join("ann", "k", 0.0)
    waiting.join("bob", "k", 0.0)
    waiting.leave(ann)
    waiting.put_back(ann, 3.0)
    assert (waiting.position(ann), names(waiting.present())) == (1, ["bob"])


def test_nobody_waits_for_ever() -> None:
    waiting = line()
    ann = waiting.join("ann", "k", 0.0)
    waiting.join("bob", "k", 30.0)
    assert waiting.overdue(59.9) == []
    assert waiting.overdue(60.0) == [ann]


def test_an_open_stream_that_wants_its_place_again_is_never_kept_out() -> None:
    waiting = line(most=1, most_per_key=1)
    ann = waiting.join("ann", "address", 0.0)
    back = waiting.come_again("secret", "address", 1.0, None)
    assert (waiting.position(ann), waiting.position(back)) == (1, 2)
    assert waiting.find("secret", "address") is None, "nobody opens another stream with it"
    assert waiting.of_key("address") == 1
    assert waiting.overdue(100.0) == [ann], "it waits as long as its client does"
    waiting.leave(ann)
    waiting.lose(back, 101.0)
    bob = waiting.join("bob", "other", 102.0) if len(waiting) < waiting.most else None
    assert bob is None and waiting.present() == []
    assert waiting.come_again("another", "address", 110.0, back) is back, "its turn was kept"
    waiting.lose(back, 111.0)
    assert waiting.overdue(121.0) == []
    again = waiting.come_again("another", "address", 122.0, back)
    assert again is not back and waiting.present() == [again]


def test_the_time_to_wait_is_that_of_the_places_of_late() -> None:
    waiting = line()
    assert waiting.eta_s(1, 2) is None, "nobody has left a place yet"
    assert waiting.eta_s(2, 2, [30.0, 7.0]) == 30.0, "two are known to come free"
    assert waiting.eta_s(3, 2, [30.0, 7.0]) is None
    for seconds in (10.0, 1000.0, 40.0):
        waiting.held(seconds)
    assert [waiting.eta_s(position, 2) for position in (1, 2, 3)] == [20.0, 40.0, 60.0]
    assert waiting.eta_s(1, 2, [7.0]) == 7.0
    assert waiting.eta_s(1, 2, [70.0]) == 20.0
    assert waiting.eta_s(1, 0) is None
    for _ in range(LATEST):
        waiting.held(6.0)
    assert waiting.eta_s(1, 2) == 3.0, "what was long ago does not count"


EVENTS = st.lists(
    st.tuples(st.sampled_from(["join", "serve", "lose", "back", "wait"]), st.integers(0, 5)),
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(EVENTS)
def test_whatever_happens_nobody_is_overtaken_while_present(events: list[tuple[str, int]]) -> None:
    waiting, now_s, count = line(most=6, most_per_key=6), 0.0, 0
    order: dict[str, int] = {}
    lost: list[Ticket] = []
    for what, which in events:
        present = waiting.present()
        if what == "join" and len(waiting) < 6:
            order[waiting.join(f"t{count}", "k", now_s).name] = count
            count += 1
        elif what == "serve" and present:
            assert order[present[0].name] == min(order[each.name] for each in present)
            waiting.leave(present[0])
        elif what == "lose" and present:
            lost.append(present[which % len(present)])
            waiting.lose(lost[-1], now_s)
        elif what == "back" and lost:
            ticket = lost.pop(which % len(lost))
            kept = waiting.find(ticket.name, "k")
            if kept is not None:
                waiting.come_back(kept)
        elif what == "wait":
            now_s += which
            waiting.overdue(now_s)
        places = [order[each.name] for each in waiting.present()]
        assert places == sorted(places)
        assert [waiting.position(each) for each in waiting.present()] == sorted(
            waiting.position(each) for each in waiting.present()
        )
