"""The worker of a model in stages: one thread drives the pipeline's processes, which have torch.

It takes the jobs and gives the reports of `Worker`, with several steps under way at once. This
process has no model in it, so nothing that a stage does can take the server down.
"""

from __future__ import annotations

import contextlib
import os
import queue
from collections.abc import Callable

from ...models.pipeline import events as pipeline_events
from ...models.pipeline.cluster import Cluster
from ...models.pipeline.events import (
    Event,
    Finished,
    Lost,
    Restarted,
    Restarting,
)
from ...models.pipeline.messages import ModelSpec
from ...models.pipeline.pipeline import Pipeline
from .worker import (
    MAX_JOBS,
    Close,
    Drop,
    Dropped,
    Job,
    JobThread,
    Open,
    Ready,
    Refused,
    Report,
    Step,
    Stepped,
    every_control,
)

_POLL_S = 0.1
_WARM_UP = "warm-up"


def staged_model(name: str, threads: int) -> ModelSpec:
    """How a stage loads a model by its name."""
    return ModelSpec("rollcast.models.registry:load_model", {"name": name, "threads": threads})


class StagedWorker(JobThread):
    """Owns the thread "pipeline" and the stages' processes."""

    def __init__(self, model: ModelSpec, stages: int, cluster: Cluster | None = None) -> None:
        super().__init__("pipeline")
        self.pipeline = Pipeline(model, stages)
        self._model = model
        self._cluster = cluster
        self._stages = stages
        self._wake_end, self._wake_begin = os.pipe()
        os.set_blocking(self._wake_end, False)
        self._serving = False
        self._streams: set[str] = set()

    @property
    def depth(self) -> int:
        """A chunk on each stage, and one on its way in."""
        return self._stages + 1

    def next_step_s(self, now_s: float, under_way: int) -> float | None:
        """When the pipeline's pace lets one more chunk in."""
        return self.pipeline.admission.next_s(now_s, under_way) if self._serving else None

    def _queued(self) -> None:
        os.write(self._wake_begin, b"\0")

    def _work(self, report: Callable[[Report], None]) -> None:
        if self._cluster is not None:
            self.pipeline = self._cluster.pipeline(self._model)
        self.pipeline.start()
        report(self._warm_up())
        self._serving = True
        self._serve(report)

    def _ended(self) -> None:
        self._serving = False
        self.pipeline.stop()

    def _warm_up(self) -> Ready:
        """Run every kind of control through the stages."""
        pipeline, info = self.pipeline, self.pipeline.info
        pipeline.open(_WARM_UP, seed=0, scene=info.scenes[0].name)
        for controls in every_control(info):
            pipeline.step(_WARM_UP, controls)
        pipeline.finish()
        pipeline.close(_WARM_UP)
        assert pipeline.costs is not None, "the pipeline was started"
        latency_s = {info.name: pipeline.costs.total_s}
        return Ready((info,), {info.name: pipeline.admission.period_s}, latency_s)

    def _serve(self, report: Callable[[Report], None]) -> None:
        while True:
            with contextlib.suppress(queue.Empty):
                while True:
                    job = self._jobs.get_nowait()
                    if job is None:
                        return
                    self._do(job, report)
            for event in self.pipeline.poll(self._pause_s(), [self._wake_end]):
                self._tell(event, report)
            # Always, or a call whose job was already taken would keep `poll` from ever waiting.
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake_end, MAX_JOBS)

    def _pause_s(self) -> float:
        return 0.0 if self._jobs.qsize() else _POLL_S

    def _do(self, job: Job, report: Callable[[Report], None]) -> None:
        match job:
            case Open():
                self._streams.add(job.session_id)
                self.pipeline.open(
                    job.session_id,
                    seed=job.seed,
                    scene=job.scene,
                    prompt=job.prompt,
                    picture=job.picture,
                )
            case Step() if job.session_id in self._streams:
                self.pipeline.submit(job.session_id, job.controls)
            case Step():
                report(Refused(job.session_id, "the stream was not opened"))
            case Drop():
                if job.session_id in self._streams:
                    self.pipeline.drop(job.session_id)
            case Close():
                self._streams.discard(job.session_id)
                self.pipeline.close(job.session_id)

    def _tell(self, event: Event, report: Callable[[Report], None]) -> None:
        match event:
            case Finished():
                step_s = max(event.busy_s.values())
                report(Stepped(event.stream, event.chunk, step_s, event.latency_s))
            case pipeline_events.Dropped():
                report(Dropped(event.stream))
            case Lost():
                self._streams.discard(event.stream)
                report(Refused(event.stream, event.reason))
            case Restarting() | Restarted():
                self._serving = isinstance(event, Restarted)
                report(event)
