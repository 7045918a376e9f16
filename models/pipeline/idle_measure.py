"""Batches of a pipeline are timed while it serves nobody, and again when that is long ago."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from ..contract import Controls, ModelInfo, StreamRequest
from ..warm_up import first_request, usual_controls
from .batch_probe import BatchProbe
from .events import Event, Finished, MeasuredBatch
from .recent import Recent
from .stage_plan import Costs

AGAIN_S = 3600.0
"""So long after it was measured a model is measured again."""
SOONER_S = 60.0
"""The same, at least, where chunks of streams take another time than they did then."""
_OFF = 1 / 3
"""Another time by more than this share."""


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
    """Measures `pipeline` when nobody used it for `after_s`, and stops when somebody comes.

    It does so again when nobody uses it `again_s` later, or already `sooner_s` later if chunks of
    streams, made alone, took more or less by a third than they did then; with an `after_s` of 0 it
    measures once.
    """

    def __init__(
        self,
        pipeline: Measurable,
        after_s: float,
        *,
        again_s: float = AGAIN_S,
        sooner_s: float = SOONER_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pipeline = pipeline
        self.after_s = after_s
        self._again_s, self._sooner_s = again_s, sooner_s
        self._clock = clock
        self._probe: BatchProbe | None = None
        self._sent_s = self._used_s = self._measured_s = clock()
        self._alone_s = 0.0
        """What a chunk took that was made alone, when batches were measured."""
        self._alone: Recent | None = None
        """The same of late."""

    @property
    def over(self) -> bool:
        """Whether all is known that is worth it, for now."""
        return self._probe is not None and self._probe.over

    def told(self, events: Sequence[Event]) -> list[Event]:
        """`events` without those of batches that are measured, and what was found out."""
        pipeline, probe, now_s = self._pipeline, self._probe, self._clock()
        own = set(probe.streams) if probe is not None else set[str]()
        told = [each for each in events if getattr(each, "stream", None) not in own]
        self._compare(told)
        if not own.issuperset(pipeline.streams) or not pipeline.running or not pipeline.measured:
            self._used_s = now_s
            self._end()
            return told
        if self._is_due(now_s):
            probe = self._probe = self._new_probe()
        if probe is None or probe.over or not pipeline.is_idle:
            return told
        if pipeline.streams:
            taken = probe.took(now_s - self._sent_s)
            if taken is not None:
                told.append(MeasuredBatch(probe.rows, taken))
                self._end()
                probe.go_on(taken)
                self._measured_s = now_s
                return told
        else:
            for stream in probe.streams:
                pipeline.open(stream, first_request(pipeline.info))
        usual = usual_controls(pipeline.info)
        self._sent_s = self._clock()
        pipeline.submit_together([(stream, usual) for stream in probe.streams])
        return told

    def _is_due(self, now_s: float) -> bool:
        """Whether to measure from the beginning."""
        if self._pipeline.most_rows < 2 or now_s - self._used_s < self.after_s:
            return False
        if self._probe is None:
            return True
        if not self._probe.over or not self.after_s:
            return False
        off = self._alone is not None and abs(self._alone.value / self._alone_s - 1) > _OFF
        return now_s - self._measured_s >= (self._sooner_s if off else self._again_s)

    def _new_probe(self) -> BatchProbe:
        pipeline = self._pipeline
        assert pipeline.costs is not None, "it runs"
        self._alone_s = pipeline.costs.total_s if self._alone is None else self._alone.value
        self._alone = Recent(self._alone_s)
        return BatchProbe(pipeline.info, self._alone_s, pipeline.most_rows)

    def _compare(self, events: Sequence[Event]) -> None:
        """See what chunks of streams take."""
        for event in events:
            if isinstance(event, Finished) and event.rows == 1 and event.spans and self._alone:
                self._alone.add(sum(event.busy_s.values()))

    def _end(self) -> None:
        """Free its streams; what was not timed to its end begins again."""
        if self._probe is not None:
            for stream in self._probe.streams:
                self._pipeline.close(stream)
            self._probe.again()
