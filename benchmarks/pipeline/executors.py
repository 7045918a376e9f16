"""The three executors of one model side by side, in one run: speed, latency, latents."""

from __future__ import annotations

import itertools
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch

from ...models.contract import Controls, StreamRequest
from ...models.pipeline.diagonal import Diagonal
from ...models.pipeline.events import Finished
from ...models.pipeline.executor import Executor, make_chunk, make_rest
from ...models.pipeline.messages import ModelSpec, WorkSpan
from ...models.pipeline.pipeline import Pipeline
from ...models.pipeline.sequential import Sequential
from ...models.pipeline.simulator import simulate
from ...models.pipeline.stage_plan import Costs, choose_plan
from ...models.pipeline.trace import write_trace
from .latents_model import event_log, fingerprinted
from .trials import Faults, Soak, try_faults, try_soak

STREAM = "a"
_PACED_CHUNKS = 12
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class PipelineBenchOptions:
    """What to measure. `stages` are the numbers of stages to try."""

    model: str
    stages: tuple[int, ...]
    chunks: int = 50
    threads: int = 1
    rounds: int = 4
    soak_minutes: float | None = None
    faults: int = 0
    trace: Path | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """`fps` as fast as it goes; `latency_s` from admission to frames, paced by playback."""

    fps: float
    latency_s: float
    over_sequential: float = 1.0


@dataclass(frozen=True, slots=True)
class MeasuredPipeline(Measured):
    """The same of a pipeline, and what the simulator makes of its parts' times."""

    stages: int = 1
    steps: tuple[tuple[int, ...], ...] = ()
    decoder: int = 0
    parts_s: dict[str, float] = field(default_factory=dict)
    link_s: float = 0.0
    formula_latency_s: float = 0.0
    simulated_fps: float = 0.0
    simulated_latency_s: float = 0.0


@dataclass(frozen=True, slots=True)
class PipelineReport:
    """All that was measured."""

    model: str
    device: str
    threads: int
    chunks: int
    steps: int
    chunk_frames: int
    native_fps: int
    sequential: Measured
    diagonal: Measured
    pipeline: tuple[MeasuredPipeline, ...]
    latents_equal: bool
    diagonal_difference: float
    soak: Soak | None = None
    faults: Faults | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def measure(options: PipelineBenchOptions, say: Say) -> PipelineReport:
    """Run everything. Raises ValueError for a model or a number of stages that cannot be."""
    torch.set_num_threads(options.threads)
    model = fingerprinted(options.model, options.threads)
    spec = ModelSpec(
        f"{fingerprinted.__module__}:{fingerprinted.__name__}",
        {"name": options.model, "threads": options.threads},
    )
    pipeline = Pipeline(spec, max(options.stages))
    try:
        say(f"starting {max(options.stages)} stages")
        pipeline.start()
        with torch.inference_mode():
            return _Comparison(options, model, pipeline, say).run()
    finally:
        pipeline.stop()


class _Comparison:
    """One run: every executor gets the same controls, in turns."""

    def __init__(
        self, options: PipelineBenchOptions, model: Any, pipeline: Pipeline, say: Say
    ) -> None:
        self._options, self._model, self._pipeline, self._say = options, model, pipeline, say
        self._log = event_log(model.info, options.chunks)
        self._chunk_s = model.info.chunk_us / 1e6
        assert pipeline.costs is not None, "the pipeline was started"
        self._plans = [choose_plan(stages, pipeline.costs) for stages in options.stages]

    def run(self) -> PipelineReport:
        options, info = self._options, self._model.info
        self._say(f"{options.chunks} chunks with events: latents")
        sequential, expected = self._latents(Sequential(self._model))
        diagonal, _ = self._latents(Diagonal(self._model))
        difference = max(
            float((a - b).abs().max() / a.abs().max())
            for a, b in zip(sequential, diagonal, strict=True)
        )
        equal = all(self._same(each, expected) for each in self._plans)
        self._say("speed, in turns")
        base, batch, piped = self._speeds()
        report = PipelineReport(
            model=options.model,
            device=f"{platform.machine()}, {os.cpu_count()} processors",
            threads=options.threads,
            chunks=options.chunks,
            steps=self._model.chunk_steps.steps,
            chunk_frames=info.chunk_frames,
            native_fps=info.fps,
            sequential=Measured(base, self._paced_s(Sequential(self._model))),
            diagonal=Measured(batch, self._paced_s(Diagonal(self._model)), batch / base),
            pipeline=tuple(
                self._piped(each, fps, base) for each, fps in zip(self._plans, piped, strict=True)
            ),
            latents_equal=equal,
            diagonal_difference=difference,
            soak=self._soak(),
            faults=self._faults(expected),
        )
        return report

    def _latents(self, executor: Executor) -> tuple[list[torch.Tensor], list[str]]:
        self._model.latents = []
        done = _play(executor, self._log)
        latents, self._model.latents = self._model.latents, None
        return latents, [finished.chunk.ignored_words[0] for finished in done]

    def _same(self, plan: Any, expected: Sequence[str]) -> bool:
        self._pipeline.assign(plan)
        done = _play(self._pipeline, self._log)
        return [finished.chunk.ignored_words[0] for finished in done] == list(expected)

    def _speeds(self) -> tuple[float, float, list[float]]:
        """Frames per second of each executor: the median of rounds in turns."""
        count = max(10, self._options.chunks // self._options.rounds)
        calm = [Controls(audio=controls.audio) for controls in self._log[:count]]
        rows: list[list[float]] = []
        for _ in range(self._options.rounds):
            row = [self._fps(Sequential(self._model), calm), self._fps(Diagonal(self._model), calm)]
            for plan in self._plans:
                self._pipeline.assign(plan)
                row.append(self._fps(self._pipeline, calm))
            rows.append(row)
        base, batch, *piped = (median(column) for column in zip(*rows, strict=True))
        return base, batch, piped

    def _fps(self, executor: Executor, log: Sequence[Controls]) -> float:
        """Between chunks, not counting how the executor fills."""
        executor.open(STREAM, StreamRequest(seed=1))
        ends_s: list[float] = []
        for controls in log:
            for finished in make_chunk(executor, STREAM, controls):
                ends_s.append(_end_s(finished))
        ends_s += [_end_s(finished) for finished in make_rest(executor) if finished.spans]
        executor.close(STREAM)
        settled = ends_s[2:]
        return self._model.info.chunk_frames * (len(settled) - 1) / (settled[-1] - settled[0])

    def _paced_s(self, executor: Executor) -> float:
        """Median latency with a chunk admitted each time one is played."""
        executor.open(STREAM, StreamRequest(seed=1))
        begun: list[float] = []
        latencies: list[float] = []
        for controls in self._log[:_PACED_CHUNKS]:
            begun.append(time.monotonic())
            for finished in make_chunk(executor, STREAM, Controls(audio=controls.audio)):
                latencies.append(time.monotonic() - begun[finished.chunk.index])
            time.sleep(max(0.0, begun[-1] + self._chunk_s - time.monotonic()))
        executor.close(STREAM)
        return median(latencies[1:])

    def _piped(self, plan: Any, fps: float, base_fps: float) -> MeasuredPipeline:
        self._pipeline.assign(plan)
        done = paced(self._pipeline, self._log[:_PACED_CHUNKS], self._chunk_s)[1:]
        if self._options.trace is not None and plan is self._plans[-1]:
            write_trace(self._options.trace, done[-1:])
        parts_s, link_s = parts_of(done), link_of(done)
        costs = costs_of(parts_s)
        info = self._model.info
        rate = {"chunk_frames": info.chunk_frames, "fps": info.fps, "link_s": link_s}
        full, calm = (simulate(costs, plan, paced=each, **rate) for each in (False, True))
        return MeasuredPipeline(
            fps=fps,
            latency_s=median(finished.latency_s for finished in done),
            over_sequential=fps / base_fps,
            stages=plan.stages,
            steps=plan.steps,
            decoder=plan.decoder,
            parts_s=parts_s,
            link_s=link_s,
            formula_latency_s=costs.total_s + plan.hops() * link_s,
            simulated_fps=full.fps,
            simulated_latency_s=calm.latency_s,
        )

    def _soak(self) -> Soak | None:
        if self._options.soak_minutes is None:
            return None
        self._say(f"soak: {self._options.soak_minutes:g} min")
        return try_soak(self._pipeline, self._log, self._chunk_s, self._options.soak_minutes)

    def _faults(self, expected: Sequence[str]) -> Faults | None:
        if not self._options.faults:
            return None
        self._say(f"{self._options.faults} lost stages")
        return try_faults(self._pipeline, self._log, expected, self._options.faults)


def _play(executor: Executor, log: Sequence[Controls]) -> list[Finished]:
    executor.open(STREAM, StreamRequest(seed=1))
    done = [finished for controls in log for finished in make_chunk(executor, STREAM, controls)]
    done += make_rest(executor)
    executor.close(STREAM)
    return done


def paced(
    pipeline: Pipeline, log: Sequence[Controls], chunk_s: float, sessions: int = 1
) -> list[Finished]:
    """Admit a chunk of each session every time one is played, in turns; the chunks that came."""
    streams = [f"{STREAM}{number}" for number in range(sessions)]
    for stream in streams:
        pipeline.open(stream, StreamRequest(seed=1))
    done: list[Finished] = []
    next_s = time.monotonic()
    for controls, stream in itertools.product(log, streams):
        next_s += chunk_s / sessions
        pipeline.submit(stream, Controls(audio=controls.audio))
        while (left_s := next_s - time.monotonic()) > 0:
            done += [each for each in pipeline.poll(left_s) if isinstance(each, Finished)]
    done += make_rest(pipeline)
    for stream in streams:
        pipeline.close(stream)
    return done


def _end_s(finished: Finished) -> float:
    return finished.spans[-1].end_s if finished.spans else time.monotonic()


def parts_of(done: Sequence[Finished]) -> dict[str, float]:
    """Median seconds of each part of a chunk."""
    spans: dict[str, list[float]] = {}
    for span in itertools.chain.from_iterable(finished.spans for finished in done):
        spans.setdefault(span.name, []).append(span.end_s - span.begin_s)
    return {name: median(times) for name, times in spans.items()}


def costs_of(parts_s: Mapping[str, float]) -> Costs:
    """The same for the simulator."""
    steps = tuple(seconds for name, seconds in parts_s.items() if name.startswith("step "))
    return Costs(parts_s["prepare"], steps, parts_s["decode"])


def link_of(done: Sequence[Finished]) -> float:
    """Median seconds from the end of a part to the next one's begin on another stage."""

    def hops(spans: Sequence[WorkSpan]) -> list[float]:
        pairs = itertools.pairwise(spans)
        return [b.begin_s - a.end_s for a, b in pairs if a.stage != b.stage]

    found = [hop for finished in done for hop in hops(finished.spans)]
    return median(found) if found else 0.0
