"""Plans: every number of stages, the decoder where there is slack, and the pace at the input."""

from __future__ import annotations

import pytest

from rollcast.models.pipeline.admission import Admission
from rollcast.models.pipeline.stage_plan import Costs, StagePlan, choose_plan, plans

FOUR = Costs(0.0, (1.0, 1.0, 1.0, 1.0), 1.0)


@pytest.mark.parametrize("stages", [1, 2, 3, 4, 5])
def test_every_plan_is_a_chain_that_ends_at_the_decoder(stages: int) -> None:
    for plan in plans(stages, 4):
        rank, seen = 0, [0]
        while (to := plan.outlet(rank)) is not None and to not in seen:
            rank = to
            seen.append(rank)
        assert to == plan.decoder or rank == plan.decoder
        assert {rank for rank, own in enumerate(plan.steps) if own} <= set(seen)
        links = {(rank, plan.outlet(rank)) for rank in range(stages)} - {(plan.decoder, None)}
        heard = {(other, rank) for rank in range(stages) for other in plan.inlets(rank)}
        assert heard - links <= {(plan.last, 0)}, "and what goes back to the first stage"
        assert len(links - {(rank, None) for rank in range(stages)}) == plan.hops()
        assert {link for link in links if link[1] is not None} <= heard
        total = sum(plan.load_s(rank, FOUR) for rank in range(stages))
        assert total == pytest.approx(FOUR.total_s)


def test_the_decoder_goes_where_there_is_slack() -> None:
    assert choose_plan(5, FOUR) == StagePlan(((0,), (1,), (2,), (3,), ()), 4)
    assert choose_plan(3, Costs(0.0, (1.0,) * 4, 9.0)) == StagePlan(((0, 1), (2, 3), ()), 2)
    assert choose_plan(2, Costs(0.0, (1.0, 1.0), 2.0)) == StagePlan(((0, 1), ()), 1)
    assert choose_plan(2, Costs(0.0, (1.0, 1.0), 0.1)) == StagePlan(((0,), (1,)), 1)
    # three cheap steps and a dear one: the first stage has room for the decoder
    assert choose_plan(2, Costs(0.0, (0.2, 0.2, 2.0), 0.5)) == StagePlan(((0, 1), (2,)), 0)


def test_a_number_of_stages_that_makes_no_sense_is_refused() -> None:
    for stages in (0, 6):
        with pytest.raises(ValueError, match="can use 1 to 5: one a call and one for the decoder"):
            choose_plan(stages, FOUR)
    for steps, decoder in ((((1,), (0,)), 0), (((0,), ()), 0), (((0,),), 1), (((), (0,)), 0)):
        with pytest.raises(ValueError):
            StagePlan(steps, decoder)


def test_chunks_enter_once_a_period_of_the_slowest_stage() -> None:
    admission = Admission(2, period_s=0.1, total_s=0.2)
    assert admission.next_s(5.0, 0) == 5.0
    admission.admitted(5.0)
    assert admission.next_s(5.01, 1) == pytest.approx(5.097)
    assert admission.next_s(6.0, 2) == 6.0
    assert admission.next_s(6.0, 3) is None
    for _ in range(50):
        admission.observed({0: 0.05, 1: 0.2})
    assert admission.period_s == pytest.approx(0.2, rel=0.01)


def test_no_more_chunks_are_under_way_than_keep_the_slowest_stage_at_work() -> None:
    admission = Admission(4, period_s=0.3, total_s=0.6)
    assert admission.next_s(9.0, 2) == 9.0
    assert admission.next_s(9.0, 3) is None
