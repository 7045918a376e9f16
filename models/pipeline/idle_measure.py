"""Batches of a pipeline are timed while it serves nobody."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import Protocol

from ..contract import Controls, ModelInfo, StreamRequest
from ..warm_up import first_request, usual_controls
from .batch_probe import BatchProbe
from .events import Event, MeasuredBatch
from .stage_plan import Costs


class Measurable(Protocol):
    """What is asked of a pipeline to measure it."""

    most_rows: int
    costs: Costs | None
    measured: bool

    @property
    def info(self) -> ModelInfo: ...

    @property
    def running(self) -> bool: ...

    @property
    def is_idle(self) -> bool: ...

    @property
    def streams(self) -> Collection[str]: ...

    def open(self, stream: str, request: StreamRequest) -> None: ...

    def submit_together(self, chunks: Sequence[tuple[str, Controls]]) -> None: ...

    def close(self, stream: str) -> None: ...


class IdleMeasure:
    """Measures `pipeline` when nobody used it for `after_s`, and stops when somebody comes."""

    def __init__(self, pipeline: Measurable, after_s: float) -> None:
        self._pipeline = pipeline
        self.after_s = after_s
        self._probe: BatchProbe | None = None
        self._sent_s = self._used_s = time.monotonic()

    @property
    def over(self) -> bool:
        """Whether all is known that is worth it."""
        return self._probe is not None and self._probe.over

    def told(self, events: Sequence[Event]) -> list[Event]:
        """`events` without those of batches that are measured, and what was found out."""
        pipeline, probe, now_s = self._pipeline, self._probe, time.monotonic()
        own = set(probe.streams) if probe is not None else set[str]()
        told = [each for each in events if getattr(each, "stream", None) not in own]
        if not own.issuperset(pipeline.streams) or not pipeline.running or not pipeline.measured:
            self._used_s = now_s
            self._end()
            return told
        if probe is None and pipeline.most_rows > 1 and now_s - self._used_s >= self.after_s:
            assert pipeline.costs is not None, "it runs"
            probe = BatchProbe(pipeline.info, pipeline.costs.total_s, pipeline.most_rows)
            self._probe = probe
        if probe is None or probe.over or not pipeline.is_idle:
            return told
        if pipeline.streams:
            taken = probe.took(now_s - self._sent_s)
            if taken is not None:
                told.append(MeasuredBatch(probe.rows, taken))
                self._end()
                probe.go_on(taken)
                return told
        else:
            for stream in probe.streams:
                pipeline.open(stream, first_request(pipeline.info))
        usual = usual_controls(pipeline.info)
        self._sent_s = time.monotonic()
        pipeline.submit_together([(stream, usual) for stream in probe.streams])
        return told

    def _end(self) -> None:
        """Free its streams; what was not timed to its end begins again."""
        if self._probe is not None:
            for stream in self._probe.streams:
                self._pipeline.close(stream)
            self._probe.again()
