"""What a pipeline would do on machines one does not have: a simulation of its queues.

Checked against the published figures of Live Avatar (arXiv 2512.04677, tables 3 and 5) and against
the real pipeline on one machine (tests/models/pipeline/test_simulator.py).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import median

from .admission import Admission
from .stage_plan import Costs, StagePlan


@dataclass(frozen=True, slots=True)
class Forecast:
    """What to expect. `ttff_s` is the first chunk's time through the empty pipeline.

    `period_s` is the time between chunks and `fps` the frames per second of all sessions together;
    `latency_s` the median from admission to frames, `latency_max_s` the worst after the start.
    `real_time_sessions` is how many sessions can play at the frame rate.
    """

    stages: int
    sessions: int
    ttff_s: float
    period_s: float
    fps: float
    latency_s: float
    latency_max_s: float
    real_time_sessions: int


def simulate(
    costs: Costs,
    plan: StagePlan,
    *,
    chunk_frames: int,
    fps: float,
    sessions: int = 1,
    link_s: float = 0.0,
    paced: bool = False,
    chunks: int = 200,
) -> Forecast:
    """Run `chunks` chunks through the stages; the first quarter of them does not count.

    `paced` admits one chunk of each session a chunk's playing time, else as many as the pipeline
    takes.
    """
    chunk_s = chunk_frames / fps
    first_s = _Run(costs, plan, link_s).at([0.0])[0][1]
    run = _Run(costs, plan, link_s)
    if paced:
        times = run.at([number * chunk_s / sessions for number in range(chunks)])
    else:
        times = run.at_own_pace(chunks)
    entered, left = zip(*times, strict=True)
    settled = slice(chunks // 4, None)
    ends = left[settled]
    real_s = (ends[-1] - ends[0]) / (len(ends) - 1)
    latencies = [end - begin for begin, end in zip(entered, left, strict=True)][settled]
    return Forecast(
        stages=plan.stages,
        sessions=sessions,
        ttff_s=first_s,
        period_s=real_s,
        fps=chunk_frames / real_s,
        latency_s=median(latencies),
        latency_max_s=max(latencies),
        real_time_sessions=int(chunk_s / plan.bottleneck_s(costs) + 1e-9),
    )


@dataclass(slots=True)
class _Station:
    """A stage: the parts that wait, by chunk, and whether one is being done."""

    waiting: list[tuple[int, int]] = field(default_factory=list)
    busy: bool = False


class _Run:
    """Chunks on their way through the stages, event after event; good for one use."""

    def __init__(self, costs: Costs, plan: StagePlan, link_s: float) -> None:
        self._link_s = link_s
        self._stations = [_Station() for _ in range(plan.stages)]
        # which stage does each part of a chunk, and how long that takes
        self._parts: list[tuple[int, float]] = []
        for rank, steps in enumerate(plan.steps):
            if steps:
                prepare_s = costs.prepare_s if rank == 0 else 0.0
                self._parts.append((rank, prepare_s + sum(costs.step_s[step] for step in steps)))
        self._parts.append((plan.decoder, costs.decode_s))
        self._admission = Admission(plan.stages, plan.bottleneck_s(costs), costs.total_s)
        self._to_admit = 0
        self._entered: list[float] = []
        self._left: list[float] = []
        # when, in which order among equals, what: chunks that are further on come first
        self._events: list[tuple[float, int, int, Callable[[float], None]]] = []
        self._count = 0

    def at(self, entered: Sequence[float]) -> list[tuple[float, float]]:
        """When each chunk enters and leaves, if they enter at these times."""
        self._entered = list(entered)
        for number, at_s in enumerate(entered):
            self._expect(at_s, number, partial(self._arrive, number, 0))
        return self._play()

    def at_own_pace(self, count: int) -> list[tuple[float, float]]:
        """The same for `count` chunks that enter as the admission lets them."""
        self._to_admit = count
        self._expect(0.0, 0, self._admit)
        return self._play()

    def _play(self) -> list[tuple[float, float]]:
        while self._events:
            now_s, _, _, happen = heapq.heappop(self._events)
            happen(now_s)
        return list(zip(self._entered, self._left, strict=True))

    def _expect(self, at_s: float, number: int, happen: Callable[[float], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (at_s, number, self._count, happen))

    def _admit(self, now_s: float) -> None:
        """Let the next chunk in, or see when it may be; a chunk that leaves asks again."""
        number = len(self._entered)
        if number >= self._to_admit:
            return
        at_s = self._admission.next_s(now_s, number - len(self._left))
        if at_s is None:
            return
        if at_s <= now_s:
            self._admission.admitted(now_s)
            self._entered.append(now_s)
            self._expect(now_s, number, partial(self._arrive, number, 0))
        self._expect(max(now_s, at_s), len(self._entered), self._admit)

    def _arrive(self, number: int, part: int, now_s: float) -> None:
        """A chunk waits at the stage of its next part."""
        station = self._stations[self._parts[part][0]]
        heapq.heappush(station.waiting, (number, part))
        self._work(station, now_s)

    def _work(self, station: _Station, now_s: float) -> None:
        """Begin with the oldest chunk that waits, if nothing else is being done."""
        if station.waiting and not station.busy:
            number, part = heapq.heappop(station.waiting)
            station.busy = True
            end_s = now_s + self._parts[part][1]
            self._expect(end_s, number, partial(self._end, number, part))

    def _end(self, number: int, part: int, now_s: float) -> None:
        """A part is done: the chunk goes on, or leaves."""
        rank = self._parts[part][0]
        station = self._stations[rank]
        station.busy = False
        if part + 1 == len(self._parts):
            self._left.append(now_s)
            self._admit(now_s)
        else:
            hop_s = self._link_s if self._parts[part + 1][0] != rank else 0.0
            self._expect(now_s + hop_s, number, partial(self._arrive, number, part + 1))
        self._work(station, now_s)
