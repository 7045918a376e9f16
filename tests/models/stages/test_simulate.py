"""The simulator against published figures and against real stages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest

from rollcast.benchmarks.pipeline import paced
from rollcast.models.stages.events import Finished
from rollcast.models.stages.messages import ModelSpec
from rollcast.models.stages.pipeline import Pipeline
from rollcast.models.stages.plan import Costs, Plan, choose_plan
from rollcast.models.stages.simulate import simulate
from rollcast.models.stages.trace import chrome_trace
from rollcast.models.stream import Controls

# Live Avatar: t = 0.265 s a step, 12 frames a chunk, 0.15 s for decoding and waiting (table 5).
STEP_S, REST_S = 0.265, 0.15


@pytest.mark.parametrize(("steps", "ttff_s"), [(2, 0.68), (3, 0.95), (4, 1.21)])
def test_the_published_time_to_first_frame(steps: int, ttff_s: float) -> None:
    costs = Costs(0.0, (STEP_S,) * steps, REST_S)
    plan = choose_plan(steps + 1, costs)
    forecast = simulate(costs, plan, chunk_frames=12, fps=25)
    assert forecast.ttff_s == pytest.approx(ttff_s, abs=0.006)


def test_the_published_frame_rate_and_the_bound_of_real_time() -> None:
    costs = Costs(0.0, (STEP_S,) * 4, REST_S)
    forecast = simulate(costs, choose_plan(5, costs), chunk_frames=12, fps=25)
    assert forecast.fps == pytest.approx(45.2, rel=0.01)
    assert forecast.real_time_sessions == 1
    for step_s, sessions in ((0.479, 1), (0.481, 0), (0.239, 2)):
        slow = Costs(0.0, (step_s,) * 4, REST_S)
        plan = choose_plan(5, slow)
        assert simulate(slow, plan, chunk_frames=12, fps=25).real_time_sessions == sessions


def test_paced_by_playback_a_chunk_needs_the_sum_of_its_parts() -> None:
    """And never (S + 1) chunk durations, which is what a pipeline that is full needs."""
    costs = Costs(0.0, (STEP_S,) * 4, REST_S)
    plan = choose_plan(5, costs)
    forecast = simulate(costs, plan, chunk_frames=12, fps=25, paced=True, link_s=0.001)
    assert forecast.latency_max_s == pytest.approx(4 * STEP_S + REST_S + 4 * 0.001, rel=1e-6)
    assert forecast.latency_max_s < 5 * 12 / 25
    assert forecast.fps == pytest.approx(25, rel=1e-6)


def test_at_full_speed_admission_keeps_chunks_from_waiting_between_stages() -> None:
    costs = Costs(0.0, (0.1, 0.3, 0.1), 0.1)
    plan = Plan(((0,), (1,), (2,), ()), 3)
    forecast = simulate(costs, plan, chunk_frames=4, fps=25)
    assert forecast.period_s == pytest.approx(0.3, rel=0.01)
    assert forecast.latency_max_s < costs.total_s + 1.2 * 0.3


@pytest.fixture(scope="module")
def slept() -> Iterator[Pipeline]:
    """Three stages whose work is mostly sleep, so that they do not fight for the processor."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        plan = Plan(((0, 1), (2, 3), ()), 2)
        model = ModelSpec("tiny:TinyModel", {"step_s": 0.03, "decode_s": 0.04})
        pipeline = Pipeline(model, 3, plan=plan)
        try:
            pipeline.start()
            yield pipeline
        finally:
            pipeline.stop()


@pytest.mark.parametrize(("sessions", "chunks"), [(1, 100), (2, 40)])
def test_it_forecasts_the_real_pipeline_within_15_percent(
    slept: Pipeline, sessions: int, chunks: int
) -> None:
    """At full speed, once as many chunks are under way as the admission lets in.

    It lets them in a little faster than they are done, so that takes some sixty chunks. With two
    sessions the chunks under way vary with the load beside the test, and the latency with them;
    the time between chunks does not.
    """
    costs, plan = slept.costs, slept.plan
    assert costs is not None and plan is not None
    forecast = simulate(costs, plan, chunk_frames=4, fps=25, sessions=sessions, link_s=0.001)
    names = [f"s{k}" for k in range(sessions)]
    for name in names:
        slept.open(name, seed=1)
    done: list[Finished] = []
    while len(done) < chunks:
        for name in names:
            done += slept.step(name, Controls())
    slept.finish()
    for name in names:
        slept.close(name)
    settled = done[chunks * 6 // 10 :]
    ends = [finished.spans[-1].end_s for finished in settled]
    period_s = (ends[-1] - ends[0]) / (len(ends) - 1)
    assert period_s == pytest.approx(forecast.period_s, rel=0.15)
    if sessions == 1:
        latency_s = median(finished.latency_s for finished in settled)
        assert latency_s == pytest.approx(forecast.latency_s, rel=0.15)


def test_paced_by_playback_the_real_latency_is_that_of_the_formula(slept: Pipeline) -> None:
    costs = slept.costs
    assert costs is not None
    done = paced(slept, [Controls()] * 8, slept.info.chunk_us / 1e6)
    latencies = sorted(finished.latency_s for finished in done[1:])
    assert latencies[len(latencies) // 2] == pytest.approx(costs.total_s, rel=0.15)


def test_a_chunk_can_be_followed_through_all_stages(slept: Pipeline) -> None:
    slept.open("a", seed=1)
    slept.submit("a", Controls())
    (finished,) = slept.finish()
    slept.close("a")
    events = chrome_trace([finished])["traceEvents"]
    work = [event for event in events if event["ph"] == "X"]
    assert [event["cat"] for event in work] == ["front", *["step"] * 4, "decode"]
    assert [event["tid"] for event in work] == [0, 0, 0, 1, 1, 2]
    ends = [event["ts"] + event["dur"] for event in work]
    assert all(end <= event["ts"] for end, event in zip(ends, work[1:], strict=False))
    assert sum(event["ph"] == "s" for event in events) == 2
