"""Slice or batch, with whom, and how long a stream waits for others: figures alone."""

from __future__ import annotations

import pytest

from rollcast.models.contract import Chunk
from rollcast.models.pipeline.events import Finished
from rollcast.models.pipeline.messages import WorkSpan
from rollcast.server.engine.batch_table import BatchTable, BatchTimes
from rollcast.server.engine.batching import best_rows, cohort
from rollcast.server.engine.candidate import Candidate
from rollcast.server.engine.phases import Phases
from rollcast.server.engine.scheduler import ModelLoad, capacity, in_time

CHUNK_S, SLACK_S = 0.16, 0.112
LAUNCH_BOUND = {2: 0.0188, 4: 0.0273, 8: 0.0444}
"""Of chunks that take .015 s alone: gains of 1.6, 2.2 and 2.7."""


def load(alone_s: float, table: dict[int, float]) -> ModelLoad:
    return ModelLoad("m", alone_s, CHUNK_S, SLACK_S, table)


@pytest.mark.parametrize(
    ("streams", "alone_s", "table", "rows"),
    [
        (1, 0.015, LAUNCH_BOUND, 1),
        (2, 0.015, LAUNCH_BOUND, 2),
        (3, 0.015, LAUNCH_BOUND, 2),
        (8, 0.015, LAUNCH_BOUND, 8),
        (2, 0.067, {2: 0.118}, 1),
        (4, 0.015, {2: 0.0265, 4: 0.05}, 1),
        (10, 0.015, {2: 0.0265, 4: 0.05}, 2),
        (2, 0.067, {}, 1),
    ],
    ids=["alone", "gains", "odd", "all", "too long", "gains little", "no time", "unknown"],
)
def test_a_batch_has_to_be_worth_it(
    streams: int, alone_s: float, table: dict[int, float], rows: int
) -> None:
    assert best_rows(streams, alone_s, table, CHUNK_S, SLACK_S) == rows


def test_a_batch_that_cannot_be_in_time_is_not_made_whatever_it_gains() -> None:
    assert best_rows(2, 0.1, {2: 0.105}, CHUNK_S, SLACK_S) == 1


def test_the_most_urgent_go_first_and_who_is_due_goes_along() -> None:
    due = [Candidate(name, deadline) for name, deadline in (("a", 3.0), ("b", 1.0), ("c", 2.0))]
    assert cohort(due, 0.0, [], 1, {}, 0.16).sessions == ("b",)
    assert cohort(due, 0.0, [], 2, {2: 0.1}, 0.16).sessions == ("b", "c")
    assert cohort(due, 0.0, [], 4, {4: 0.1}, 0.16).sessions == ("b", "c", "a")


@pytest.mark.parametrize(
    ("deadline_s", "coming_s", "waits"),
    [(10.0, 9.02, True), (10.0, 9.04, False), (9.12, 9.02, False), (10.0, None, False)],
    ids=["soon", "after a fifth of a chunk", "a viewer would run dry", "nobody comes"],
)
def test_others_are_waited_for_a_little(
    deadline_s: float, coming_s: float | None, waits: bool
) -> None:
    coming = [] if coming_s is None else [coming_s]
    chosen = cohort([Candidate("a", deadline_s)], 9.0, coming, 2, {2: 0.1}, 0.16)
    assert (chosen.sessions == ()) == waits
    assert chosen.again_s == (coming_s if waits else None)


def test_as_many_are_admitted_as_batches_serve() -> None:
    sliced, batched = load(0.015, {}), load(0.015, LAUNCH_BOUND)
    assert capacity(sliced) == 9
    assert capacity(batched) == 24
    assert in_time([batched] * 24) and not in_time([batched] * 25)
    assert capacity(load(0.067, {2: 0.118})) == capacity(load(0.067, {}))


def test_who_makes_chunks_together_comes_to_be_due_together() -> None:
    phases, chunk_s = Phases(), 0.16
    shown_s = {"a": 0.0, "b": 0.05, "c": 0.03}
    early_s = dict.fromkeys(shown_s, 0.0)
    for _ in range(60):
        due_s = {name: shown_s[name] - early_s[name] for name in shown_s}
        for name in shown_s:
            early_s[name] = phases.begin(
                name, due_s[name], chunk_s=chunk_s, step_s=0.02, slack_s=0.112, mates=due_s
            )
            shown_s[name] += chunk_s
    due_s = {name: shown_s[name] - early_s[name] for name in shown_s}
    assert max(due_s.values()) - min(due_s.values()) < 0.002


def test_what_was_measured_again_counts_at_once() -> None:
    table = BatchTable()
    for seconds in (0.010, 0.014, 0.012):
        table.add(2, seconds)
    spread = table.seconds[2] - table._mean[2]
    table.measure(2, 0.030)
    assert table.seconds[2] == pytest.approx(0.030 + spread) and spread > 0.0


def test_a_table_follows_what_batches_take_and_says_the_worst_of_twenty() -> None:
    table = BatchTable()
    table.add(2, 0.1)
    assert table.seconds == {2: 0.1}
    for k in range(200):
        table.add(2, 0.2 if k % 2 else 0.18)
    assert 0.19 < table.seconds[2] < 0.22
    table.forget()
    assert table.seconds == {}


def test_a_batch_took_from_its_first_preparation_to_its_last_frame(chunk: Chunk) -> None:
    times = BatchTimes()
    step = WorkSpan(0, "step 0", 2.0, 3.0)
    first = (WorkSpan(0, "prepare", 1.0, 1.1), step, WorkSpan(0, "decode", 3.0, 3.5))
    last = (WorkSpan(0, "prepare", 1.1, 1.2), step, WorkSpan(0, "decode", 3.5, 4.0))
    assert times.add(Finished("c", chunk, 1.0, first, rows=1)) is None
    assert times.add(Finished("a", chunk, 1.0, first, rows=2)) is None
    assert times.add(Finished("b", chunk, 1.0, last, rows=2)) == pytest.approx(3.0)


@pytest.fixture
def chunk() -> Chunk:
    import numpy as np

    return Chunk(0, np.zeros((1, 2, 2, 3), np.uint8), np.zeros(0, np.int16))
