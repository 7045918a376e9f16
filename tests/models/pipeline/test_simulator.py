"""The simulator against published figures and against real stages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import median

import pytest

from rollcast.benchmarks.pipeline.executors import costs_of, link_of, paced, parts_of
from rollcast.models.contract import Controls, StreamRequest
from rollcast.models.pipeline.events import Finished
from rollcast.models.pipeline.executor import make_chunk, make_rest
from rollcast.models.pipeline.pipeline import Pipeline
from rollcast.models.pipeline.simulator import simulate
from rollcast.models.pipeline.stage_plan import Costs, StagePlan, choose_plan
from rollcast.models.pipeline.trace import chrome_trace

from .running import tiny

pytestmark = pytest.mark.processes

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
    plan = StagePlan(((0,), (1,), (2,), ()), 3)
    forecast = simulate(costs, plan, chunk_frames=4, fps=25)
    assert forecast.period_s == pytest.approx(0.3, rel=0.01)
    assert forecast.latency_max_s < costs.total_s + 1.2 * 0.3


PLAN = StagePlan(((0, 1), (2, 3), ()), 2)
CHUNKS, TRIES = 16, 6
SLOT_S = 0.18
"""Between chunks when they are paced; the slowest stage needs 0.12 s."""


@pytest.fixture(scope="module")
def slept() -> Iterator[Pipeline]:
    """Three stages whose work is mostly sleep: each has a processor to itself, as it were.

    Long parts, so that what else the machine does is little beside them.
    """
    pipeline = Pipeline(tiny(step_s=0.06, decode_s=0.09), 3, plan=PLAN)
    try:
        pipeline.start()
        yield pipeline
    finally:
        pipeline.stop()


def full_speed(pipeline: Pipeline, sessions: int) -> list[Finished]:
    """As many chunks as the admission lets in, of the sessions in turns."""
    names = [f"s{k}" for k in range(sessions)]
    for name in names:
        pipeline.open(name, StreamRequest(seed=1))
    done: list[Finished] = []
    for _ in range(CHUNKS // sessions):
        for name in names:
            done += make_chunk(pipeline, name, Controls())
    done += make_rest(pipeline)
    for name in names:
        pipeline.close(name)
    return done


def at_playback(pipeline: Pipeline, sessions: int) -> list[Finished]:
    """One chunk of each session in a chunk's playing time."""
    return paced(pipeline, [Controls()] * (CHUNKS // sessions), SLOT_S * sessions, sessions)


@pytest.mark.parametrize("sessions", [1, 2])
@pytest.mark.parametrize("run", [full_speed, at_playback])
def test_it_forecasts_the_real_pipeline_within_15_percent(
    slept: Pipeline, run: Callable[[Pipeline, int], list[Finished]], sessions: int
) -> None:
    """Frames per second and latency, from the times of parts and links in the same run.

    What runs beside the test can only disturb the real pipeline, so one calm run of some is enough.
    """
    tried: list[tuple[float, float]] = []
    for _ in range(TRIES):
        done = run(slept, sessions)
        forecast = simulate(
            costs_of(parts_of(done)),
            PLAN,
            chunk_frames=slept.info.chunk_frames,
            fps=slept.info.chunk_frames / (SLOT_S * sessions),
            sessions=sessions,
            link_s=link_of(done),
            paced=run is at_playback,
            chunks=len(done),
        )
        settled = done[len(done) // 4 :]
        ends = [finished.spans[-1].end_s for finished in settled]
        period_s = (ends[-1] - ends[0]) / (len(ends) - 1)
        latency_s = median(finished.latency_s for finished in settled)
        tried.append((period_s / forecast.period_s, latency_s / forecast.latency_s))
        if all(0.85 <= ratio <= 1.15 for ratio in tried[-1]):
            return
    pytest.fail(f"real over forecast, period and latency: {tried}")


def test_a_chunk_can_be_followed_through_all_stages(slept: Pipeline) -> None:
    slept.open("a", StreamRequest(seed=1))
    slept.submit("a", Controls())
    (one,) = make_rest(slept)
    slept.close("a")
    events = chrome_trace([one])["traceEvents"]
    work = [event for event in events if event["ph"] == "X"]
    assert [event["cat"] for event in work] == ["prepare", *["step"] * 4, "decode"]
    assert [event["tid"] for event in work] == [0, 0, 0, 1, 1, 2]
    ends = [event["ts"] + event["dur"] for event in work]
    assert all(end <= event["ts"] for end, event in zip(ends, work[1:], strict=False))
    assert sum(event["ph"] == "s" for event in events) == 2
