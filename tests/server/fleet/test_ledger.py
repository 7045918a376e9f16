"""Places are given once, come back if nothing comes of them, and old epochs count for nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollcast.server.fleet.ledger import RESERVED_S, SILENT_S, SUSPECT_S, Ledger, Replica
from rollcast.server.fleet.scaling import Bounds, spare, want


def hear(
    ledger: Ledger,
    name: str,
    free: int,
    now_s: float,
    streams: dict[str, int] | None = None,
    *,
    draining: bool = False,
    asked_s: float | None = None,
) -> list[str]:
    ledger.add(name, f"http://{name}")
    said = [(session, epoch, True) for session, epoch in (streams or {}).items()]
    return ledger.hear(
        name,
        ready=True,
        draining=draining,
        models=("m",),
        places=free + len(said),
        free=free,
        chunk_s=0.16,
        streams=said,
        now_s=now_s,
        asked_s=asked_s,
    )


def test_the_emptiest_replica_is_chosen_and_places_are_reserved() -> None:
    ledger = Ledger()
    hear(ledger, "a", 1, 0.0)
    hear(ledger, "b", 2, 0.0)
    given_ = [ledger.acquire(f"s{k}", "m", 0.1) for k in range(4)]
    assert [None if each is None else each.replica for each in given_] == ["b", "b", "a", None]
    assert ledger.acquire("other", "another model", 0.1) is None


def test_a_reserved_place_comes_back_when_nothing_comes_of_it() -> None:
    ledger = Ledger()
    hear(ledger, "a", 1, 0.0)
    assert ledger.acquire("s", None, 0.0) is not None
    assert ledger.acquire("t", None, 1.0) is None
    hear(ledger, "a", 1, RESERVED_S)
    assert ledger.acquire("t", None, RESERVED_S + 0.1) is not None


def test_a_stream_counts_until_its_replica_was_asked_again() -> None:
    """What a replica says that was asked before the stream was opened knows nothing of it."""
    ledger = Ledger()
    hear(ledger, "a", 1, 0.0)
    assert ledger.acquire("s", None, 0.1) is not None
    ledger.settle("s", 0.2)
    assert ledger.acquire("t", None, 0.3) is None, "it was settled, and is not said yet"
    hear(ledger, "a", 1, 0.4, asked_s=0.15)
    assert ledger.where("s") is not None
    assert ledger.acquire("t", None, 0.5) is None, "the answer is older than the stream"
    hear(ledger, "a", 1, 0.7, asked_s=0.6)
    assert ledger.where("s") is None and ledger.acquire("t", None, 0.8) is not None


def test_a_replica_that_refused_has_no_room_until_it_says_so() -> None:
    ledger = Ledger()
    hear(ledger, "a", 2, 0.0)
    ledger.full("a")
    assert ledger.acquire("s", None, 0.1) is None
    hear(ledger, "a", 2, 0.5)
    assert ledger.acquire("s", None, 0.6) is not None


def test_a_move_goes_elsewhere_and_in_a_new_epoch() -> None:
    ledger = Ledger()
    hear(ledger, "a", 3, 0.0)
    hear(ledger, "b", 1, 0.0)
    first = ledger.acquire("s", None, 0.0)
    assert first is not None and first.replica == "a" and first.epoch == 0
    moved = ledger.move("s", 0, None, 0.1)
    assert moved is not None and (moved.replica, moved.epoch) == ("b", 1)
    assert ledger.move("s", 0, None, 0.2) is None, "who moves it again is late"
    back = ledger.move("s", 1, None, 0.3)
    assert back is not None and (back.replica, back.epoch) == ("a", 2)


def test_a_replica_that_was_away_is_told_which_streams_it_has_no_more() -> None:
    ledger = Ledger()
    hear(ledger, "a", 2, 0.0, {"s": 0, "t": 0})
    hear(ledger, "b", 2, 0.0)
    assert ledger.move("s", 0, None, 0.1) is not None
    hear(ledger, "b", 1, 0.5, {"s": 1})
    assert hear(ledger, "a", 2, 9.0, {"s": 0, "t": 0}) == ["s"]
    where = ledger.where("s")
    assert where is not None and where.replica == "b"


def test_a_move_prefers_a_replica_that_was_just_heard() -> None:
    """On a machine that hangs all are silent, and only one has been missed so far."""
    ledger = Ledger()
    hear(ledger, "a", 2, 0.0, {"s": 0})
    hear(ledger, "b", 9, 0.0)
    hear(ledger, "c", 1, 1.4)
    moved = ledger.move("s", 0, None, 1.6)
    assert moved is not None and moved.replica == "c"
    again = ledger.move("s", 1, None, 1.7, besides={"c"})
    assert again is not None and again.replica == "b", "rather than none"


@pytest.mark.parametrize(
    ("now_s", "usable"), [(0.1, True), (SILENT_S + 0.1, False)], ids=["heard", "silent"]
)
def test_who_says_nothing_is_given_nothing(now_s: float, usable: bool) -> None:
    ledger = Ledger()
    hear(ledger, "a", 1, 0.0)
    assert (ledger.acquire("s", None, now_s) is not None) is usable


def test_who_is_suspect_or_drained_is_given_nothing() -> None:
    ledger = Ledger()
    hear(ledger, "a", 1, 0.0)
    ledger.suspect("a", 0.0)
    assert ledger.acquire("s", None, 0.1) is None
    hear(ledger, "a", 1, SUSPECT_S)
    assert ledger.total_free(SUSPECT_S) == 1
    assert ledger.drain("a") and not ledger.drain("nobody")
    hear(ledger, "a", 1, SUSPECT_S + 0.1)
    assert ledger.acquire("s", None, SUSPECT_S + 0.2) is None, "what it says does not undo that"


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["acquire", "move", "release", "hear", "lose"]), st.integers(0, 4)
        ),
        max_size=60,
    )
)
def test_a_place_is_never_given_twice(script: list[tuple[str, int]]) -> None:
    """Against the truth at the replicas: with three places each, none ever has more."""
    ledger, places = Ledger(), 3
    truth: dict[str, dict[str, int]] = {"a": {}, "b": {}}
    now_s = 0.0
    for do, number in script:
        now_s += 0.2
        for name, streams in truth.items():
            hear(ledger, name, places - len(streams), now_s, streams)
        session = f"s{number}"
        here = next((name for name, streams in truth.items() if session in streams), None)
        if do == "acquire" and here is None:
            place = ledger.acquire(session, None, now_s)
        elif do == "move" and here is not None:
            place = ledger.move(session, truth[here][session], None, now_s)
        else:
            place = None
            if do in ("release", "lose") and here is not None:
                del truth[here][session]
                ledger.release(session)
        if place is not None:
            if here is not None:
                assert place.replica != here and place.epoch > truth[here].pop(session)
            truth[place.replica][session] = place.epoch
            assert len(truth[place.replica]) <= places


def replica(name: str, free: int, streams: int = 0, condition: str = "ready") -> Replica:
    made = Replica(name, "", condition, places=free + streams, free=free)  # type: ignore[arg-type]
    made.streams = {f"{name}{k}": 0 for k in range(streams)}
    return made


@pytest.mark.parametrize(
    ("replicas", "waiting", "calm_s", "expected"),
    [
        ([], 0, 0.0, ("add", "")),
        ([replica("a", 4)], 0, 0.0, ("nothing", "")),
        ([replica("a", 0, 4)], 0, 0.0, ("add", "")),
        ([replica("a", 0, 4), replica("b", 0, condition="starting")], 0, 0.0, ("nothing", "")),
        ([replica("a", 0, 4), replica("b", 0, condition="starting")], 9, 0.0, ("add", "")),
        ([replica("a", 0, 4)] * 3, 9, 0.0, ("nothing", "")),
        ([replica("a", 2, 2), replica("b", 4)], 0, 59.0, ("nothing", "")),
        ([replica("a", 2, 2), replica("b", 4)], 0, 60.0, ("drain", "b")),
        ([replica("a", 0, 4), replica("b", 3, 1)], 0, 99.0, ("nothing", "")),
        ([replica("a", 1, condition="draining")], 0, 0.0, ("add", "")),
    ],
)
def test_how_many_there_should_be(
    replicas: list[Replica], waiting: int, calm_s: float, expected: tuple[str, str]
) -> None:
    wish = want(replicas, waiting, Bounds(1, 3, reserve=1, calm_s=60.0), calm_s)
    assert (wish.do, wish.name) == expected


def test_bounds_must_make_sense() -> None:
    with pytest.raises(ValueError, match="least"):
        Bounds(3, 2)
    with pytest.raises(ValueError, match="reserve"):
        Bounds(1, 2, reserve=-1)
    assert not spare([replica("a", 4)], Bounds(1, 2))
