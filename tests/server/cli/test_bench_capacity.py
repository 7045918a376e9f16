"""`rollcast bench capacity`: what it is asked for."""

from __future__ import annotations

import pytest

from rollcast.benchmarks.capacity.capacity import Trial
from rollcast.server.cli.bench_busy import busy
from rollcast.server.cli.bench_capacity import _core, _trials, capacity
from rollcast.server.cli.failure import Failure


def test_trials_are_ways_and_numbers() -> None:
    assert _trials("sliced:2, batched:4") == (Trial("sliced", 2), Trial("batched", 4))


@pytest.mark.parametrize("text", ["2", "sliced:0", "sliced:x", "quick:2", ""])
def test_other_trials_are_refused_by_name(text: str) -> None:
    with pytest.raises(Failure, match="--trials"):
        _trials(text)


def test_steps_want_a_model_that_makes_batches_and_numbers_of_rows() -> None:
    with pytest.raises(Failure, match="test-pattern makes no batches"):
        capacity("test-pattern", steps="2")
    with pytest.raises(Failure, match="--steps is a list of numbers of rows"):
        capacity("pocket", steps="2,x")


def test_a_core_has_to_be_there() -> None:
    assert _core(None) is None
    with pytest.raises(Failure, match="--core 100000"):
        _core(100_000)


def test_what_comes_with_its_weights_is_given_none() -> None:
    for bench in (capacity, busy):
        with pytest.raises(Failure, match="pocket comes with its weights"):
            bench("pocket", dtype="bf16")


@pytest.mark.slow
def test_a_published_model_is_served_as_it_was_told() -> None:
    with pytest.raises(Failure, match="no such file or folder: /nowhere"):
        capacity("longlive", weights=["/nowhere"], size="64x32", device="cpu", trials="sliced:1")
