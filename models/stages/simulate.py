"""What a pipeline would do on machines one does not have: a simulation of its queues.

Checked against the published figures of Live Avatar (arXiv 2512.04677, tables 3 and 5) and against
the real pipeline on one machine (tests/models/stages/test_simulate.py).
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median

from .admission import Admission
from .plan import Costs, Plan

_CHUNKS = 200


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
    plan: Plan,
    *,
    chunk_frames: int,
    fps: float,
    sessions: int = 1,
    link_s: float = 0.0,
    paced: bool = False,
) -> Forecast:
    """Run chunks through the stages.

    `paced` admits one chunk of each session a chunk's playing time, else as many as the pipeline
    takes.
    """
    chunk_s = chunk_frames / fps
    line = _Line(costs, plan, link_s)
    first_s = line.run([0.0])[0]
    period_s = chunk_s / sessions if paced else None
    entered, left = line.flow(period_s)
    settled = slice(_CHUNKS // 4, None)
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
    """A stage: the work that waits, and whether one is being done."""

    waiting: deque[tuple[int, int]] = field(default_factory=deque)
    busy: bool = False


class _Line:
    """The parts of a chunk in order: where each is done and how long it takes."""

    def __init__(self, costs: Costs, plan: Plan, link_s: float) -> None:
        self._stages = plan.stages
        self._link_s = link_s
        self._admission = Admission(plan.stages, plan.bottleneck_s(costs), costs.total_s)
        self._parts: list[tuple[int, float]] = []
        for rank, steps in enumerate(plan.steps):
            if steps:
                front_s = costs.front_s if rank == 0 else 0.0
                self._parts.append((rank, front_s + sum(costs.step_s[step] for step in steps)))
        self._parts.append((plan.decoder, costs.decode_s))

    def flow(self, period_s: float | None) -> tuple[list[float], list[float]]:
        """When chunks enter and leave, at a fixed period or at the pipeline's own pace."""
        if period_s is not None:
            entered = [number * period_s for number in range(_CHUNKS)]
            return entered, self.run(entered)
        entered = []
        return entered, self.run(entered, own_pace=True)

    def run(self, entered: list[float], *, own_pace: bool = False) -> list[float]:
        """When each chunk leaves; with `own_pace` fills `entered` by the admission's rule."""
        stations = [_Station() for _ in range(self._stages)]
        left: list[float] = []
        events: list[tuple[float, int, int, int, str]] = []
        count = _CHUNKS if own_pace else len(entered)
        for number, at_s in enumerate(entered):
            heapq.heappush(events, (at_s, number, 0, 0, "arrive"))
        if own_pace:
            heapq.heappush(events, (0.0, 0, 0, 0, "admit"))
        while events:
            now_s, number, part, _, kind = heapq.heappop(events)
            for event in self._step(stations, left, entered, count, now_s, number, part, kind):
                heapq.heappush(events, event)
        return left

    def _step(
        self,
        stations: list[_Station],
        left: list[float],
        entered: list[float],
        count: int,
        now_s: float,
        number: int,
        part: int,
        kind: str,
    ) -> Iterator[tuple[float, int, int, int, str]]:
        """Act on one event; what follows from it."""
        if kind == "admit":
            at_s = self._admission.next_s(now_s, len(entered) - len(left))
            if len(entered) >= count:
                return
            if at_s is None or at_s > now_s:
                # not before a chunk leaves: that event admits again
                if at_s is not None:
                    yield at_s, len(entered), 0, 0, "admit"
                return
            self._admission.admitted(now_s)
            yield now_s, len(entered), 0, 1, "arrive"
            entered.append(now_s)
            yield now_s, len(entered), 0, 2, "admit"
            return
        rank = self._parts[part][0]
        station = stations[rank]
        if kind == "arrive":
            station.waiting.append((number, part))
        else:
            station.busy = False
            if part + 1 == len(self._parts):
                left.append(now_s)
                yield now_s, number, 0, 3, "admit"
            else:
                hop_s = self._link_s if self._parts[part + 1][0] != rank else 0.0
                yield now_s + hop_s, number, part + 1, 1, "arrive"
        if station.waiting and not station.busy:
            chosen = min(station.waiting)
            station.waiting.remove(chosen)
            station.busy = True
            yield now_s + self._parts[chosen[1]][1], *chosen, 0, "done"
