"""What a pipeline has to stand: hours without growth, and the loss of any stage at any moment."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from ...models.contract import Controls, StreamRequest
from ...models.pipeline.events import Event, Finished, Restarted, Restarting
from ...models.pipeline.pipeline import Pipeline
from ..stream.memory import rss_mb, slope_per_min
from ..stream.processor_time import process_s

STREAM = "a"
_SAMPLE_S = 5.0
_MOST_UNDER_WAY = 8


@dataclass(frozen=True, slots=True)
class Soak:
    """A long run, paced by playback. Slopes are per minute, without the first fifth.

    Late chunks took more than two chunk durations. Like a viewer whose playback stands still, the
    run waits while eight chunks are under way; `stalls` says how often it had to.
    First and last are medians over the first and the last tenth of the run. `cpu_ms` is the
    processor time of all stages for a chunk, which other programs on the machine hardly change;
    `latency_s` is what was waited for it.
    """

    minutes: float
    chunks: int
    restarts: int
    stage_rss_mb: tuple[float, ...]
    stage_rss_slope_mb_per_min: tuple[float, ...]
    own_rss_slope_mb_per_min: float
    cpu_first_ms: float
    cpu_last_ms: float
    cpu_slope_ms_per_min: float
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
    pipeline.open(STREAM, StreamRequest(seed=1))
    begin_s = next_s = time.monotonic()
    memory: list[tuple[float, ...]] = []
    cpu: list[tuple[float, float]] = []
    used_s, counted = _cpu_s(pipeline), 0
    latencies = array("d")
    number, stalls, restarts = 0, 0, pipeline.restarts

    def take(events: Sequence[Event]) -> None:
        latencies.extend(each.latency_s for each in events if isinstance(each, Finished))

    while time.monotonic() - begin_s < 60 * minutes:
        if number - len(latencies) < _MOST_UNDER_WAY:
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
            if len(latencies) > counted:
                before_s, used_s = used_s, _cpu_s(pipeline)
                cpu.append((now_s, 1e3 * (used_s - before_s) / (len(latencies) - counted)))
                counted = len(latencies)
    take(pipeline.finish())
    pipeline.close(STREAM)
    own, *stages = _slopes(memory)
    cpu_ms = [each for _, each in cpu]
    part, samples = max(1, len(latencies) // 10), max(1, len(cpu) // 10)
    return Soak(
        minutes=minutes,
        chunks=number,
        restarts=pipeline.restarts - restarts,
        stage_rss_mb=memory[-1][2:],
        stage_rss_slope_mb_per_min=tuple(stages),
        own_rss_slope_mb_per_min=own,
        cpu_first_ms=median(cpu_ms[:samples]),
        cpu_last_ms=median(cpu_ms[-samples:]),
        cpu_slope_ms_per_min=_slopes(cpu)[0],
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
    pipeline.open(STREAM, StreamRequest(seed=1))
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


def _cpu_s(pipeline: Pipeline) -> float:
    """Processor time that all stages have used; 0 for one that is gone."""
    used_s = 0.0
    for pid in pipeline.pids:
        with contextlib.suppress(OSError):
            used_s += process_s(pid)
    return used_s


def _slopes(samples: Sequence[tuple[float, ...]]) -> list[float]:
    """What each column behind the time, in seconds, gains in a minute."""
    settled = samples[len(samples) // 5 :]
    if len(settled) < 2:
        return [0.0] * (len(samples[0]) - 1)
    at_s, *columns = zip(*settled, strict=True)
    return [slope_per_min(at_s, column) for column in columns]
