"""The streaming benchmark: the real server, real viewers, and what both see.

For each number of viewers a fresh server is started. Cold is the time from starting that process
to the first frame at a viewer who waited for it; warm, from connecting to a warm server.
`rtf` is a step's time over the time that a usual chunk lasts.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from statistics import fmean, median

import numpy as np

from ...client import connect
from ...models.processor import instructions, processor_name
from ..rounding import rounded
from .memory import slope_per_min
from .metrics_text import Sample, Span
from .server_process import ServerDied, ServerProcess, start_timeout_s

SOAK_SAMPLES = 40


@dataclass(frozen=True, slots=True)
class StreamBenchOptions:
    """What to measure; `options` are further ones of `rollcast serve`, about the model."""

    model: str
    sessions: tuple[int, ...]
    seconds: float
    soak_minutes: float | None = None
    threads: int | None = None
    options: tuple[str, ...] = ()

    def server(self, max_sessions: int) -> ServerProcess:
        """Not started yet."""
        return ServerProcess(
            self.model,
            max_sessions=max_sessions,
            threads=self.threads,
            options=self.options,
            start_timeout_s=start_timeout_s(self.options),
        )


@dataclass(frozen=True, slots=True)
class Native:
    """The model's own format."""

    width: int
    height: int
    fps: int
    chunk_frames: int

    @property
    def chunk_s(self) -> float:
        """How long a chunk lasts."""
        return self.chunk_frames / self.fps


@dataclass(frozen=True, slots=True)
class SessionsRow:
    """The figures for `n` viewers at once."""

    n: int
    fps: float
    rtf_p50: float
    rtf_p95: float
    ttff_cold_s: float
    ttff_warm_s: float
    control_chunks_p95: float
    overhead_ratio: float
    memory_mb: float


@dataclass(frozen=True, slots=True)
class SoakRow:
    """Trends over a long run of one viewer."""

    minutes: float
    memory_slope_mb_per_min: float
    chunk_time_last_over_first: float


@dataclass(frozen=True, slots=True)
class StreamReport:
    """All of it; `instructions` are those the processor has of which chunk times depend."""

    device: str
    instructions: tuple[str, ...]
    model: str
    native: Native
    sessions: list[SessionsRow]
    soak: SoakRow | None

    def to_json(self) -> dict[str, object]:
        """The report as plain values, figures to five digits."""
        return {key: rounded(value) for key, value in asdict(self).items()}


def measure(plan: StreamBenchOptions, say: Callable[[str], None]) -> StreamReport:
    """Run the plan; `say` is told what goes on. Raises ServerDied."""
    rows: list[SessionsRow] = []
    native: Native | None = None
    for count in plan.sessions:
        say(f"{count} viewer(s) for {plan.seconds:g} s")
        native, row = _measure_sessions(plan, count)
        rows.append(row)
    soak = None
    if plan.soak_minutes is not None:
        say(f"soak of {plan.soak_minutes:g} min")
        soak = _soak(plan, plan.soak_minutes)
    assert native is not None
    return StreamReport(device_name(), instructions(), plan.model, native, rows, soak)


def device_name() -> str:
    """The processor's name and how many of them there are."""
    return f"{processor_name()}, {os.cpu_count()} threads"


def _measure_sessions(plan: StreamBenchOptions, count: int) -> tuple[Native, SessionsRow]:
    with plan.server(count + 1) as server:
        server.wait_ready()
        native = asyncio.run(first_frame(server.url))
        cold_s = time.monotonic() - server.started_s
        viewers, span = watch_server(server, count, plan.seconds)
        memory_mb = server.memory_mb()
    controls = [each for viewer in viewers for each in viewer["control_chunks"]]
    return native, SessionsRow(
        n=count,
        fps=fmean(viewer["frames"] / viewer["seconds"] for viewer in viewers),
        rtf_p50=span.step_percentile_s(0.50) / native.chunk_s,
        rtf_p95=span.step_percentile_s(0.95) / native.chunk_s,
        ttff_cold_s=cold_s,
        ttff_warm_s=median(viewer["ttff_s"] for viewer in viewers),
        control_chunks_p95=float(np.percentile(controls, 95)) if controls else float("nan"),
        overhead_ratio=span.overhead_ratio(),
        memory_mb=memory_mb,
    )


async def first_frame(url: str) -> Native:
    """Watch a server's first frame; the format of its model."""
    async with connect(url, wait=False) as stream:
        await anext(stream.frames())
        ready = stream.ready
        return Native(ready.width, ready.height, ready.fps, ready.chunk_frames)


def watch_server(
    server: ServerProcess, count: int, seconds: float, *, settle_s: float = 0.0
) -> tuple[list[dict], Span]:
    """Viewers in a process of their own; the span is that in which all of them watch.

    It begins, and so does what is counted, `settle_s` after all of them have a picture.
    """
    with _viewers(server.url, count, seconds, settle_s) as process:
        _await_steady(process)
        time.sleep(settle_s)
        before = server.metrics()
        lines = _last_lines(process)
    return json.loads(lines[-1]), Span(before, server.metrics())


def _soak(plan: StreamBenchOptions, minutes: float) -> SoakRow:
    samples: list[tuple[float, float, Sample]] = []
    with plan.server(1) as server:
        server.wait_ready()
        with _viewers(server.url, 1, minutes * 60) as process:
            _await_steady(process)
            start_s = time.monotonic()
            for number in range(SOAK_SAMPLES + 1):
                due_s = start_s + number * minutes * 60 / SOAK_SAMPLES
                time.sleep(max(0.0, due_s - time.monotonic()))
                at_s, held_mb = time.monotonic() - start_s, server.own_memory_mb()
                samples.append((at_s, held_mb, server.metrics()))
            _last_lines(process)
    return trends(samples, minutes)


def trends(samples: Sequence[tuple[float, float, Sample]], minutes: float) -> SoakRow:
    """Slope of memory and drift of the step time from (seconds, MB, metrics) in time order.

    The first fifth, in which caches fill, is left out of the slope.
    """
    settled = samples[len(samples) // 5 :]
    at_s, memory_mb, _ = zip(*settled, strict=True)
    tenth = max(1, len(samples) // 10)
    first = Span(samples[0][2], samples[tenth][2]).mean_step_s()
    last = Span(samples[-1 - tenth][2], samples[-1][2]).mean_step_s()
    return SoakRow(minutes, slope_per_min(at_s, memory_mb), last / first)


@contextmanager
def _viewers(
    url: str, count: int, seconds: float, settle_s: float = 0.0
) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [
            sys.executable,
            "-P",
            "-m",
            "rollcast.benchmarks.stream.viewers",
            url,
            str(count),
            str(seconds),
            str(settle_s),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            # Whoever breaks off does not wait until they have seen enough.
            process.terminate()


def _await_steady(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    if process.stdout.readline().strip() != "steady":
        _last_lines(process)


def _last_lines(process: subprocess.Popen[str]) -> list[str]:
    out, err = process.communicate()
    if process.returncode or not out.strip():
        raise ServerDied("\n".join(["the viewers failed", *err.strip().splitlines()[-3:]]))
    return out.strip().splitlines()
