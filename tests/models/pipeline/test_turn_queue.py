"""What waits before the stages and what is inside, against a list kept by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollcast.models.contract import Controls
from rollcast.models.pipeline.admission import Admission
from rollcast.models.pipeline.turn_queue import Queued, TurnQueue


def chunk(stream: str, index: int, batch: int = 0) -> Queued:
    return Queued(stream, index, Controls(), batch=batch)


def test_a_single_stage_has_one_turn_at_a_time_and_a_batch_is_one() -> None:
    queue = TurnQueue(1)
    queue.extend([chunk("a", 0, batch=1), chunk("b", 0, batch=1), chunk("a", 1)])
    assert [each.stream for each in queue.take(1.0)] == ["a", "b"]
    assert queue.turns == 1 and len(queue) == 1 and not queue.take(1.1)
    assert queue.left("a", 0, 1.2) == 1.0 and queue.turns == 1 and not queue.take(1.2)
    assert queue.left("b", 0, 1.3) == 1.0 and queue.turns == 0
    assert [(each.stream, each.index) for each in queue.take(1.4)] == [("a", 1)]


def test_stages_have_a_turn_for_each_chunk() -> None:
    queue = TurnQueue(2)
    queue.admission = Admission(2, 1.0, 2.0)
    queue.extend([chunk("a", 0), chunk("b", 0)])
    assert len(queue.take(0.0)) == 1 and queue.turns == 1
    assert not queue.take(0.5), "not before the slowest stage is done with one"
    assert len(queue.take(1.0)) == 1 and queue.turns == 2


def test_what_was_handed_over_and_is_not_admitted_counts_as_a_turn() -> None:
    queue = TurnQueue(1)
    assert queue.next_s(5.0, 0) == 5.0
    assert queue.next_s(5.0, 1) is None


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=20), st.sampled_from("abc")
)
def test_a_stream_that_is_forgotten_leaves_nothing(
    chunks: list[tuple[str, bool]], gone: str
) -> None:
    queue, now_s = TurnQueue(1), 0.0
    inside: list[Queued] = []
    kept: list[Queued] = []
    for index, (stream, taken) in enumerate(chunks):
        queue.extend([each := chunk(stream, index)])
        kept.append(each)
        if taken and not inside:
            inside = list(queue.take(now_s))
            kept = [other for other in kept if other not in inside]
    queue.forget(gone)
    others = [each for each in kept if each.stream != gone]
    assert len(queue) == len(others)
    for each in inside:
        assert queue.left(each.stream, each.index, 1.0) == (None if each.stream == gone else now_s)
    assert queue.turns == 0
    for each in others:
        assert list(queue.take(2.0)) == [each]
        assert queue.left(each.stream, each.index, 2.0) == pytest.approx(2.0)
    assert queue.is_empty
    queue.extend([chunk("a", 99)])
    queue.clear()
    assert queue.is_empty
