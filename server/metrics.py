"""Prometheus metrics of one server, held by the app and passed to whom it may concern.

The time that the server itself costs per chunk, outside the model, is the sum of
`rollcast_stage_seconds_sum` over the stages but "step", divided by `rollcast_chunks_total`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Summary,
    generate_latest,
)

Stage = Literal["step", "receive", "control", "deliver", "encode", "send"]

# Steps of a fifth: close enough to read percentiles from.
_STAGE_BUCKETS_S = tuple(round(0.0005 * 1.2**power, 6) for power in range(46))
_LEAD_BUCKETS_S = (0.0, 0.04, 0.08, 0.16, 0.24, 0.32, 0.48, 0.64, 1.0)

RENDERED_FOR_S = 0.25


class Metrics:
    """Counters and timers; no label names a session."""

    def __init__(self, rendered_for_s: float = RENDERED_FOR_S) -> None:
        self._rendered_for_s = rendered_for_s
        self.registry = CollectorRegistry()
        self._rendered, self._rendered_s = b"", float("-inf")
        self.stage_s = Histogram(
            "rollcast_stage_seconds",
            "Time in a stage: step, deliver per chunk; encode, send per packet; others per message",
            ["stage"],
            buckets=_STAGE_BUCKETS_S,
            registry=self.registry,
        )
        self.lead_s = Histogram(
            "rollcast_lead_seconds",
            "Generated media time ahead of the viewer when a chunk is done",
            buckets=_LEAD_BUCKETS_S,
            registry=self.registry,
        )
        self.latency_s = Histogram(
            "rollcast_chunk_latency_seconds",
            "From a chunk's admission to its frames, all steps and stages",
            buckets=_STAGE_BUCKETS_S,
            registry=self.registry,
        )
        self.work_s = Summary(
            "rollcast_work_seconds",
            "Work on a chunk: prepare, each step, the clean pass, decode; or the chunk as a whole",
            ["work"],
            registry=self.registry,
        )
        self.restarts = self._counter("engine_restarts", "Times that a lost stage was replaced")
        self.chunks = self._counter("chunks", "Chunks generated")
        self.batch_rows = self._counter(
            "batched_chunks",
            "Chunks by how many were made together with them, themselves included",
            "rows",
        )
        self.batch_s = Gauge(
            "rollcast_batch_seconds",
            "What a batch of so many chunks takes 95 times of 100",
            ["model", "rows"],
            registry=self.registry,
        )
        self.turn_wait_s = Histogram(
            "rollcast_turn_wait_seconds",
            "From when a chunk was due until it was handed to the model, alone or in a batch",
            buckets=_STAGE_BUCKETS_S,
            registry=self.registry,
        )
        self.frames_sent = self._counter("frames_sent", "Video frames sent")
        self.frames_skipped = self._counter(
            "frames_skipped", "Video frames skipped before encoding because a viewer lagged"
        )
        self.bytes_sent = self._counter("bytes_sent", "Bytes of media sent")
        self.late_chunks = self._counter(
            "late_chunks", "Chunks that were done after their viewer had run out of frames"
        )
        self.messages = self._counter("messages", "Messages received", "type")
        self.errors = self._counter("errors", "Errors told to clients", "code")
        self.sessions_opened = self._counter("sessions_opened", "Streams opened")
        self.sessions_resumed = self._counter("sessions_resumed", "Streams resumed")
        self.encoder_failures = self._counter(
            "encoder_failures", "Encoders that failed or hung and were replaced", "codec"
        )
        self.audio_underruns = self._counter(
            "audio_underruns", "Utterances that ran dry before their end"
        )
        self.sessions = self._gauge("sessions", "Streams held, connected or not")
        self.sessions_detached = self._gauge(
            "sessions_detached", "Streams without a connection that may be resumed"
        )
        self.viewers = self._gauge("viewers", "Who watch streams by share links")
        self.viewer_cuts = self._counter(
            "viewer_cuts", "Times that a viewer by a share link was too far behind"
        )
        self.capacity = self._gauge("capacity", "Streams that fit, as measured or as set")
        self.quality_level = Gauge(
            "rollcast_quality_level",
            "How much the streams of a model give up while it is too slow for all of them",
            ["model"],
            registry=self.registry,
        )
        self.parked = Gauge(
            "rollcast_parked", "Streams that are parked", ["where"], registry=self.registry
        )
        self.parked_bytes = Gauge(
            "rollcast_parked_bytes",
            "What parked streams take of memory and disk",
            ["where"],
            registry=self.registry,
        )
        self.sessions_parked = self._counter("sessions_parked", "Times that streams were parked")
        self.return_s = Histogram(
            "rollcast_return_seconds",
            "From when a parked stream was to go on until it had a place and its model had it",
            buckets=(0.1, 0.25, 0.5, 1, 2, 5, 15, 30, 60, 120, 300, 600),
            registry=self.registry,
        )
        self.waiting = self._gauge("waiting", "Clients that wait for a place")
        self.waited_s = Histogram(
            "rollcast_waited_seconds",
            "How long clients waited until they had a place",
            buckets=(1, 5, 15, 30, 60, 120, 300, 600),
            registry=self.registry,
        )
        self.tasks = self._gauge("tasks", "Tasks of the event loop")
        self.ready = self._gauge("ready", "1 after warm-up while the model thread lives")
        self.warm_step_s = Gauge(
            "rollcast_warm_step_seconds",
            "Median step time in warm-up",
            ["model"],
            registry=self.registry,
        )

    @contextmanager
    def time(self, stage: Stage) -> Iterator[None]:
        """Time a block of code as one observation of `stage`."""
        start_s = time.perf_counter()
        try:
            yield
        finally:
            self.stage_s.labels(stage).observe(time.perf_counter() - start_s)

    def render(self) -> bytes:
        """All metrics in the Prometheus text format, as they were `rendered_for_s` ago at most.

        To write them takes ten milliseconds, too long for whoever asks again and again.
        """
        now_s = time.monotonic()
        if now_s - self._rendered_s >= self._rendered_for_s:
            self._rendered, self._rendered_s = generate_latest(self.registry), now_s
        return self._rendered

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"rollcast_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"rollcast_{name}", text, registry=self.registry)
