"""What a pipeline has to stand: hours without growth, and the loss of any stage at any moment."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from ..models.stages.events import Event, Finished, Restarted, Restarting
from ..models.stages.pipeline import Pipeline
from ..models.stream import Controls
from .memory import rss_mb, slope_per_min

STREAM = "a"
_SAMPLE_S = 5.0
_MOST_UNDER_WAY = 8


@dataclass(frozen=True, slots=True)
class Soak:
    """A long run, paced by playback. Slopes are per minute, without the first fifth.

    Late chunks took more than two chunk durations. Like a viewer whose playback stands still, the
    run waits while eight chunks are under way; `stalls` says how often it had to.
    `work_ms` is what all stages together did for a chunk, its median in the first and the last
    tenth of the run.
    """

    minutes: float
    chunks: int
    restarts: int
    stage_rss_mb: tuple[float, ...]
    stage_rss_slope_mb_per_min: tuple[float, ...]
    own_rss_slope_mb_per_min: float
    work_first_ms: float
    work_last_ms: float
    work_slope_ms_per_min: float
    latency_first_s: float
    latency_last_s: float
    late_chunks: int
    stalls: int


@dataclass(frozen=True, slots=True)
class Faults:
    """Stages that were killed or stopped at random moments."""

    count: int
    latents_equal: bool
    noticed_s_max: float
    recovered_s_median: float
    recovered_s_max: float
    orphans: int


def try_soak(pipeline: Pipeline, log: Sequence[Controls], chunk_s: float, minutes: float) -> Soak:
    """Stream for so long; the log is repeated."""
    pipeline.open(STREAM, seed=1)
    begin_s = next_s = time.monotonic()
    memory: list[tuple[float, ...]] = []
    done: list[tuple[float, float, float]] = []
    number, stalls, restarts = 0, 0, pipeline.restarts

    def take(events: Sequence[Event]) -> None:
        """When each chunk came, how much work it was, and how long it took."""
        for each in events:
            if isinstance(each, Finished):
                work_ms = 1e3 * sum(each.busy_s.values())
                done.append((time.monotonic() - begin_s, work_ms, each.latency_s))

    while time.monotonic() - begin_s < 60 * minutes:
        if number - len(done) < _MOST_UNDER_WAY:
            pipeline.submit(STREAM, log[number % len(log)])
            number += 1
        else:
            stalls += 1
        next_s = max(next_s, time.monotonic() - chunk_s) + chunk_s
        while (left_s := next_s - time.monotonic()) > 0:
            take(pipeline.poll(left_s))
        if (time.monotonic() - begin_s) >= _SAMPLE_S * len(memory):
            now_s = time.monotonic() - begin_s
            memory.append((now_s, rss_mb(os.getpid()), *map(rss_mb, pipeline.pids)))
    take(pipeline.finish())
    pipeline.close(STREAM)
    own, *stages = _slopes(memory)
    _, work_ms, latencies = zip(*done, strict=True)
    part = max(1, len(done) // 10)
    return Soak(
        minutes=minutes,
        chunks=number,
        restarts=pipeline.restarts - restarts,
        stage_rss_mb=memory[-1][2:],
        stage_rss_slope_mb_per_min=tuple(stages),
        own_rss_slope_mb_per_min=own,
        work_first_ms=median(work_ms[:part]),
        work_last_ms=median(work_ms[-part:]),
        work_slope_ms_per_min=_slopes(done)[0],
        latency_first_s=median(latencies[:part]),
        latency_last_s=median(latencies[-part:]),
        late_chunks=sum(latency > 2 * chunk_s for latency in latencies),
        stalls=stalls,
    )


def try_faults(
    pipeline: Pipeline, log: Sequence[Controls], expected: Sequence[str], count: int
) -> Faults:
    """Lose a random stage at a random moment of each run of the log."""
    chance = random.Random(1)
    noticed: list[float] = []
    recovered: list[float] = []
    equal, orphans = True, 0
    for _ in range(count):
        old = pipeline.pids
        words, times = _lose_one(pipeline, log, chance)
        noticed.append(times[0])
        recovered.append(times[1])
        equal &= words == list(expected)
        orphans += sum(Path(f"/proc/{pid}").exists() for pid in old)
    return Faults(count, equal, max(noticed), median(recovered), max(recovered), orphans)


def _lose_one(
    pipeline: Pipeline, log: Sequence[Controls], chance: random.Random
) -> tuple[list[str], tuple[float, float]]:
    """The fingerprints of a run in which a stage is lost; seconds until noticed, until it works."""
    pipeline.open(STREAM, seed=1)
    for controls in log:
        pipeline.submit(STREAM, controls)
    typical_s = len(log) * pipeline.admission.period_s
    strike_s = time.monotonic() + chance.random() * 0.8 * typical_s
    rank, number = chance.randrange(len(pipeline.pids)), chance.choice(["SIGKILL", "SIGSTOP"])
    struck_s: float | None = None
    noticed_s = recovered_s = float("nan")
    words: list[str] = []
    while len(words) < len(log):
        if struck_s is None and time.monotonic() >= strike_s:
            os.kill(pipeline.pids[rank], getattr(signal, number))
            struck_s = time.monotonic()
        for event in pipeline.poll(0.01):
            match event:
                case Finished():
                    words.append(event.chunk.ignored_words[0])
                case Restarting() if struck_s is not None:
                    noticed_s = time.monotonic() - struck_s
                case Restarted() if struck_s is not None:
                    recovered_s = time.monotonic() - struck_s
                case _:
                    pass
    pipeline.close(STREAM)
    return words, (noticed_s, recovered_s)


def _slopes(samples: Sequence[tuple[float, ...]]) -> list[float]:
    """What each column behind the time, in seconds, gains in a minute."""
    settled = samples[len(samples) // 5 :]
    if len(settled) < 2:
        return [0.0] * (len(samples[0]) - 1)
    at_s, *columns = zip(*settled, strict=True)
    return [slope_per_min(at_s, column) for column in columns]
