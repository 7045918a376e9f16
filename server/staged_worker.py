"""The worker of a model in stages: one thread drives the pipeline's processes, which have torch.

It takes the jobs and gives the reports of `Worker`, with several steps under way at once. This
process has no model in it, so nothing that a stage does can take the server down.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import traceback
from collections.abc import Callable

from ..models.stages.cluster import Cluster
from ..models.stages.events import Event, Finished, Lost
from ..models.stages.events import Restarted as PipelineRestarted
from ..models.stages.events import Restarting as PipelineRestarting
from ..models.stages.messages import ModelSpec
from ..models.stages.pipeline import Pipeline
from .worker import (
    JOIN_S,
    MAX_JOBS,
    Close,
    Failed,
    Job,
    Open,
    Ready,
    Refused,
    Report,
    Restarted,
    Restarting,
    Step,
    Stepped,
    every_control,
)

_POLL_S = 0.1
_WARM_UP = "warm-up"


def staged_model(name: str, threads: int) -> ModelSpec:
    """How a stage loads a model by its name."""
    return ModelSpec("rollcast.models.registry:load_model", {"name": name, "threads": threads})


class StagedWorker:
    """Owns the thread "pipeline" and the stages' processes."""

    def __init__(self, model: ModelSpec, stages: int, cluster: Cluster | None = None) -> None:
        self.pipeline = Pipeline(model, stages)
        self._model = model
        self._cluster = cluster
        self._stages = stages
        self._jobs: queue.Queue[Job | None] = queue.Queue(MAX_JOBS)
        self._wake_end, self._wake_begin = os.pipe()
        self._thread: threading.Thread | None = None
        self._serving = False
        self._streams: set[str] = set()

    @property
    def depth(self) -> int:
        """A chunk on each stage, and one on its way in."""
        return self._stages + 1

    @property
    def behind(self) -> bool:
        """Whether so many jobs wait that no new stream should be opened."""
        return self._jobs.qsize() > MAX_JOBS // 2

    def start(self, report: Callable[[Report], None]) -> None:
        """Start the stages; `report` is called from the thread with everything that happens."""
        assert self._thread is None, "a worker starts once"
        self._thread = threading.Thread(
            target=self._run, args=(report,), name="pipeline", daemon=True
        )
        self._thread.start()

    def next_step_s(self, now_s: float, under_way: int) -> float | None:
        """When the pipeline's pace lets one more chunk in."""
        return self.pipeline.admission.next_s(now_s, under_way) if self._serving else None

    def submit(self, job: Job) -> None:
        """Queue a job."""
        self._jobs.put_nowait(job)
        self._wake()

    def stop(self) -> None:
        """End the stages and the thread and wait for it."""
        if self._thread is not None and self._thread.is_alive():
            self._jobs.put(None, timeout=JOIN_S)
            self._wake()
            self._thread.join(JOIN_S)

    def _wake(self) -> None:
        os.write(self._wake_begin, b"\0")

    def _run(self, report: Callable[[Report], None]) -> None:
        # Whatever goes wrong in here must reach the viewers: no silent dead thread.
        try:
            if self._cluster is not None:
                self.pipeline = self._cluster.pipeline(self._model)
            self.pipeline.start()
            report(self._warm_up())
            self._serving = True
            self._serve(report)
        except Exception as error:
            report(Failed(f"{type(error).__name__}: {error}", traceback.format_exc()))
        finally:
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
            if self._jobs.qsize():
                os.read(self._wake_end, MAX_JOBS)

    def _pause_s(self) -> float:
        return 0.0 if self._jobs.qsize() else _POLL_S

    def _do(self, job: Job, report: Callable[[Report], None]) -> None:
        match job:
            case Open():
                self._streams.add(job.session_id)
                self.pipeline.open(
                    job.session_id, seed=job.seed, scene=job.scene, prompt=job.prompt
                )
            case Step() if job.session_id in self._streams:
                self.pipeline.submit(job.session_id, job.controls)
            case Step():
                report(Refused(job.session_id, "the stream was not opened"))
            case Close():
                self._streams.discard(job.session_id)
                self.pipeline.close(job.session_id)

    def _tell(self, event: Event, report: Callable[[Report], None]) -> None:
        match event:
            case Finished():
                step_s = max(event.busy_s.values())
                report(Stepped(event.stream, event.chunk, step_s, event.latency_s))
            case Lost():
                self._streams.discard(event.stream)
                report(Refused(event.stream, event.reason))
            case PipelineRestarting():
                self._serving = False
                report(Restarting(event.reason, event.estimate_s))
            case PipelineRestarted():
                self._serving = True
                report(Restarted(event.took_s))
            case _:
                pass
