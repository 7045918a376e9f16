"""What models' hosts tell: it reaches the streams, the models' conditions, metrics and the log."""

from __future__ import annotations

import time
from collections.abc import Callable

from ...models.pipeline.events import (
    Dropped,
    Finished,
    Lost,
    MeasuredAlone,
    MeasuredBatch,
    Parked,
    Restarted,
    Restarting,
    Saved,
)
from ...models.pipeline.past import Past
from ...models.pipeline.recent import Recent
from ..logs import logger
from ..metrics import Metrics
from ..protocol.errors import EngineFailed
from .hosted_model import CAUSES, HostedModel
from .hosted_stream import HostedStream
from .model_host import Failed, HostEvent, Ready
from .quality_ladder import QualityLadder
from .scheduler import capacity
from .stream_keeper import StreamKeeper


class ModelEvents:
    """Takes the events of all models, one after the other, on the event loop."""

    def __init__(
        self,
        keeper: StreamKeeper,
        metrics: Metrics,
        now_s: Callable[[], float],
        parked: Callable[[str, Past], None],
    ) -> None:
        """`parked` is told of streams that were let go of, with what they have behind them."""
        self._keeper = keeper
        self._parked = parked
        self._metrics = metrics
        self._now_s = now_s
        self._log = logger("rollcast.engine")

    def take(self, model: HostedModel, event: HostEvent) -> None:
        """Act on what the host of `model` tells."""
        match event:
            case Ready():
                self._ready(model, event)
            case Finished():
                self._finished(model, event)
            case Dropped():
                self._dropped(model, event)
            case Saved():
                self._saved(event)
            case Parked():
                self._parked(event.stream, event.past)
            case Lost():
                self._lost(model, event)
            case Failed():
                self._failed(model, event)
            case MeasuredAlone():
                self._measured_alone(model, event)
            case MeasuredBatch():
                self._measured(model, event)
            case Restarting():
                self._restarting(model, event)
            case Restarted():
                self._restarted(model, event)

    def _ready(self, model: HostedModel, event: Ready) -> None:
        info = model.info = event.info
        model.step_s = Recent(event.step_s, guess=not event.measured)
        model.ladder = QualityLadder(info)
        model.table.forget()
        model.latency_s = event.latency_s
        model.become("ready", time.time())
        self._metrics.warm_step_s.labels(info.name).set(event.step_s)
        self._log.info(
            "model ready",
            model=info.name,
            step_ms=round(event.step_s * 1e3, 2),
            chunk_ms=info.chunk_us / 1e3,
            streams=_places(model),
        )

    def _finished(self, model: HostedModel, event: Finished) -> None:
        stream = self._keeper.streams.get(event.stream)
        if stream is not None and not stream.session.awaits(event.chunk.index):
            return
        step_s = max(event.busy_s.values(), default=event.latency_s)
        model.under_way.done(event.stream)
        if model.step_s is not None and event.busy_s and event.rows == 1:
            model.step_s.add(step_s)
        self._metrics.stage_s.labels("step").observe(step_s)
        self._metrics.latency_s.observe(event.latency_s)
        for span in event.spans:
            self._metrics.work_s.labels(span.name).observe(span.end_s - span.begin_s)
        batch_s = model.batch_times.add(event)
        if batch_s is not None:
            self._batch_took(model, event.rows, batch_s)
        self._metrics.batch_rows.labels(str(event.rows)).inc()
        self._metrics.chunks.inc()
        if stream is None:
            return
        with self._keeper.guard(stream):
            self._deliver(model, stream, event, step_s)

    def _measured_alone(self, model: HostedModel, event: MeasuredAlone) -> None:
        if model.info is None:
            return
        if not model.is_sure:
            # else its streams have told more of it meanwhile
            model.step_s = Recent(event.seconds)
        self._metrics.warm_step_s.labels(model.info.name).set(event.seconds)
        self._log.info(
            "model measured",
            model=model.name,
            step_ms=round(event.seconds * 1e3, 2),
            streams=_places(model),
        )

    def _measured(self, model: HostedModel, event: MeasuredBatch) -> None:
        model.table.measure(event.rows, event.seconds)
        self._tell_batch(model, event.rows)
        self._log.info(
            "batch measured",
            model=model.name,
            rows=event.rows,
            batch_ms=round(event.seconds * 1e3, 2),
            streams=_places(model),
        )

    def _batch_took(self, model: HostedModel, rows: int, seconds: float) -> None:
        model.table.add(rows, seconds)
        self._tell_batch(model, rows)

    def _tell_batch(self, model: HostedModel, rows: int) -> None:
        told = self._metrics.batch_s.labels(model.name, str(rows))
        told.set(model.table.seconds[rows])

    def _deliver(
        self, model: HostedModel, stream: HostedStream, event: Finished, step_s: float
    ) -> None:
        now_s, session = self._now_s(), stream.session
        if session.missing is not None:
            self._refill(stream, event)
            return
        if session.chunks > 0:
            margin_s = now_s - session.deadline_s(now_s)
            self._metrics.late_chunks.inc(margin_s >= 0 and not stream.returns)
            if model.ladder is not None and not session.paused and not stream.returns:
                model.ladder.made(margin_s, step_s, now_s)
        stream.returns = False
        with self._metrics.time("deliver"):
            if stream.journal is not None:
                stream.journal.came(session.steps, event.rows)
            media = session.finish_step(event.chunk, step_s, now_s)
            stream.write(now_s)
            stream.audience.show(media)
        self._metrics.lead_s.observe(session.deadline_s(now_s) - now_s)
        stream.notify()

    @staticmethod
    def _refill(stream: HostedStream, event: Finished) -> None:
        """A chunk that another server had made comes again; others were not shown there either."""
        session = stream.session
        if event.chunk.index == session.missing:
            session.refill(event.chunk)
        if session.missing is None:
            stream.whole.set()

    def _saved(self, event: Saved) -> None:
        stream = self._keeper.streams.get(event.stream)
        if stream is not None and stream.journal is not None:
            stream.journal.saved(event.index, event.parts, event.shown_from, small=event.small)

    def _dropped(self, model: HostedModel, event: Dropped) -> None:
        model.under_way.done(event.stream)
        stream = self._keeper.streams.get(event.stream)
        if stream is not None:
            with self._keeper.guard(stream):
                if stream.journal is not None:
                    stream.journal.came(stream.session.steps, event.rows)
                stream.session.drop_step()
                stream.write(self._now_s())
                stream.notify()

    def _lost(self, model: HostedModel, event: Lost) -> None:
        model.under_way.forget(event.stream)
        self._log.error("stream lost", session_id=event.stream, reason=event.reason)
        stream = self._keeper.streams.get(event.stream)
        if stream is None:
            return
        if event.refused:
            self._keeper.fail(stream, EngineFailed(f"the model refused: {event.reason}"))
        else:
            self._keeper.fail(
                stream, EngineFailed("the model fails at this stream again and again")
            )

    def _failed(self, model: HostedModel, event: Failed) -> None:
        loaded = model.info is not None
        why = "the model stopped working" if loaded else "the model could not be loaded"
        model.become("failed", time.time(), why, event.reason)
        model.under_way.clear()
        self._log.error(why, model=model.name, reason=event.reason, exception=event.detail)
        # what is parked needs no model before it is to go on
        streams = self._keeper.streams.of_model(model.name)
        lost = [stream for stream in streams if stream.parked is None]
        self._keeper.fail_all(lost, lambda: EngineFailed(why))

    def _restarting(self, model: HostedModel, event: Restarting) -> None:
        """Nothing is lost but time: what is under way will come."""
        model.estimate_s = event.estimate_s
        model.become("restarting", time.time(), CAUSES[event.cause], event.detail)
        self._metrics.restarts.inc()
        self._log.error(
            "model is restarted",
            model=model.name,
            reason=event.detail,
            takes_s=round(event.estimate_s, 1),
        )
        for stream in self._keeper.streams.of_model(model.name):
            stream.audience.say(model.notice)
            if stream.session.attached:
                stream.session.say(model.notice)
                stream.notify()

    def _restarted(self, model: HostedModel, event: Restarted) -> None:
        model.become("ready", time.time())
        if model.ladder is not None:
            # what its streams missed says nothing of how fast it is
            model.ladder.excuse(self._now_s())
        self._log.info("model works again", model=model.name, took_s=round(event.took_s, 2))


def _places(model: HostedModel) -> int:
    """How many of its streams fit, as far as it is known."""
    if model.load is None:
        return 0
    return capacity(model.load) if model.is_sure else 1
