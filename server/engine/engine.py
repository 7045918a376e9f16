"""The asyncio side of generation: sessions in, chunks to the models' hosts, chunks back.

All its methods run on the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from ...models.contract import ModelInfo, StreamRequest
from ...models.pipeline.events import Dropped, Finished, Lost, Restarted, Restarting
from ..config import ServerConfig
from ..logs import logger
from ..metrics import Metrics
from ..protocol.client_messages import Prompt, SessionCreate, SessionResume
from ..protocol.errors import Capacity, Draining, EngineFailed, Replaced, StreamError, UnknownModel
from ..protocol.limits import AUDIO_RATE, MAX_KBPS
from ..protocol.server_messages import DrainingNotice, EngineRestarting
from ..session.options import SessionOptions
from ..session.request import stream_request
from ..session.session import Session
from .driver import TICK_S, Driver
from .health import Health, check_health, health_of
from .hosted_model import CAUSES, LOADING_RETRY_S, Condition, HostedModel
from .hosted_stream import HostedStream
from .model_host import Failed, HostEvent, ModelHost, Ready
from .prompt_desk import PromptDesk, read
from .scheduler import ModelLoad, admit, capacity
from .stream_registry import StreamRegistry

GOODBYE_S = 1.0


class Engine:
    """Every stream of this process, and the loop that keeps them generating."""

    def __init__(self, config: ServerConfig, hosts: Sequence[ModelHost], metrics: Metrics) -> None:
        self.config = config
        self.metrics = metrics
        self.streams = StreamRegistry()
        self.draining = False
        self.settled = asyncio.Event()
        """Set once the models are loaded, or could not be."""
        self.hosted = {host.name: HostedModel(host, time.time()) for host in hosts}
        self._driver = Driver(self.hosted, self.streams)
        self._wake = asyncio.Event()
        self._opening: set[asyncio.Task[None]] = set()
        """Streams whose prompt is being read."""
        self._task: asyncio.Task[None] | None = None
        self._log = logger("rollcast.engine")

    def now_s(self) -> float:
        """The clock that all sessions are told, and that clients see as `server_ms`."""
        return asyncio.get_running_loop().time()

    @property
    def health(self) -> Health:
        """How the server is as a whole."""
        conditions: list[Condition] = [model.condition for model in self.hosted.values()]
        return health_of(conditions, draining=self.draining)

    @property
    def reason(self) -> str:
        """Why models failed, for who runs the server: it may quote an exception."""
        return "; ".join(each.detail for each in self.hosted.values() if each.detail)

    @property
    def models(self) -> dict[str, ModelInfo]:
        """What is known of the models that were loaded, by name."""
        known = {name: model.info for name, model in self.hosted.items()}
        return {name: info for name, info in known.items() if info is not None}

    # Life.

    def start(self) -> None:
        """Start the models' hosts and the loop that drives them."""
        loop = asyncio.get_running_loop()

        def report(model: HostedModel, event: HostEvent) -> None:
            # The loop may close while the last chunk is made.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._handle, model, event)

        for model in self.hosted.values():
            model.host.start(partial(report, model))
        self._task = loop.create_task(self._drive(), name="engine")

    async def drain(self) -> None:
        """Stop admitting, tell every client, and give them `drain_s` to leave."""
        self.draining = True
        self.metrics.ready.set(0)
        for stream in self.streams.attached:
            stream.session.say(DrainingNotice(retry_after_s=self.config.drain_s))
            stream.notify()
        await self._until_empty(self.config.drain_s)
        self._fail_all(self.streams, lambda: Draining("the server shuts down", retry_after_s=10.0))
        await self._until_empty(GOODBYE_S)

    async def stop(self) -> None:
        """Close every stream and end the models' hosts."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for opening in self._opening:
            opening.cancel()
        for stream in self.streams:
            self.close(stream.session_id)
        stops = (asyncio.to_thread(model.host.stop) for model in self.hosted.values())
        await asyncio.gather(*stops)

    # Streams.

    def create(self, message: SessionCreate, *, audio: bool, picture: bytes | None) -> HostedStream:
        """Open a new stream; `picture` is the small square of the message's one.

        Raises a StreamError: engine state, model, request or capacity.
        """
        model = self._model(message.model)
        info, load = model.info, model.load
        assert info is not None and load is not None, "the model is ready"
        request = stream_request(message, info, picture, secrets.randbelow(2**31))
        now_s = self.now_s()
        self._admit(load, now_s)
        if model.host.behind:
            raise Capacity("too many streams were opened at once", retry_after_s=LOADING_RETRY_S)
        limit = self.config.max_kbps or MAX_KBPS
        options = SessionOptions(
            session_id=secrets.token_urlsafe(12),
            resume_token=secrets.token_urlsafe(24),
            request=request,
            audio=audio,
            audio_rate=message.audio_rate or AUDIO_RATE,
            max_kbps=min(limit, message.max_kbps or limit),
            # while a chunk is under way others are played
            max_lead_chunks=self.config.max_lead_chunks + model.latency_s * 1e6 / info.chunk_us,
            max_under_way=model.host.depth,
            grace_s=self.config.grace_s,
            idle_timeout_s=self.config.idle_timeout_s,
        )
        stream = HostedStream(Session(info, options, now_s), model.name)
        self.streams.add(stream)
        self._open(model, stream, request)
        self.metrics.sessions_opened.inc()
        self._log.info("session opened", session_id=options.session_id, model=info.name)
        self.wake()
        return stream

    def resume(self, message: SessionResume, *, audio: bool) -> tuple[HostedStream, int]:
        """Go on with a stream; returns it and its next video seq. Raises a StreamError."""
        if self.health in ("loading", "draining", "failed"):
            check_health(None, self.health)
        stream = self.streams.to_resume(message)
        if stream.viewer is not None:
            stream.viewer.end(Replaced("the stream went on over another connection"))
            self.detach(stream)
        next_seq = stream.session.resume(message.last_seq, audio=audio, now_s=self.now_s())
        restarting = self.hosted[stream.model]
        if restarting.condition == "restarting":
            stream.session.say(_restarting(restarting))
        self.metrics.sessions_resumed.inc()
        self._log.info("session resumed", session_id=message.session_id, next_seq=next_seq)
        self.wake()
        return stream, next_seq

    def detach(self, stream: HostedStream) -> None:
        """A connection is gone; its stream waits for `resume` until its grace time is over."""
        stream.viewer = None
        stream.session.detach(self.now_s())
        self._log.info("session detached", session_id=stream.session_id)

    def close(self, session_id: str) -> None:
        """Free a stream at once."""
        stream = self.streams.remove(session_id)
        if stream is None:
            return
        stream.count(self.metrics)
        stream.session.close()
        if stream.prompts is not None:
            stream.prompts.close()
        model = self.hosted[stream.model]
        # what is under way of it may never be told
        model.under_way.forget(session_id)
        if model.condition != "failed":
            model.host.close(session_id)
        self._log.info("session closed", session_id=session_id, chunks=stream.session.chunks)

    def model(self, name: str | None) -> ModelInfo:
        """The model of a new stream. Raises a StreamError: engine state or model."""
        info = self._model(name).info
        assert info is not None, "the model is ready"
        return info

    def wake(self) -> None:
        """Look again for something to generate; call after anything a session received."""
        self._wake.set()

    def places(self) -> int:
        """How many streams fit."""
        if self.config.max_sessions is not None:
            return self.config.max_sessions
        loads = (model.load for model in self.hosted.values())
        return min((capacity(load) for load in loads if load is not None), default=0)

    # Private.

    def _model(self, name: str | None) -> HostedModel:
        """The model that is named, or the first that takes streams, or that ever will."""
        check_health(None, self.health)
        if name is None:
            usable = [model for model in self.hosted.values() if model.condition == "ready"]
            return (usable or list(self.hosted.values()))[0]
        if name not in self.hosted:
            known = ", ".join(self.models)
            raise UnknownModel(f"there is no model {name!r}, only {known}", field="model")
        check_health(self.hosted[name], self.health)
        return self.hosted[name]

    def _open(self, model: HostedModel, stream: HostedStream, request: StreamRequest) -> None:
        """Begin a stream, once its prompt is read if that takes long."""
        reader = model.host.reader
        if reader is None:
            model.host.open(stream.session_id, request)
            return

        def deliver(prompt: Prompt) -> None:
            stream.session.receive(prompt, self.now_s())
            self.wake()
            stream.notify()

        def refuse(error: StreamError) -> None:
            stream.session.refuse(error)
            stream.notify()

        stream.prompts = PromptDesk(reader, deliver, refuse)
        if request.prompt is None or reader.has(request.prompt):
            reader.warm()
            model.host.open(stream.session_id, request)
            return
        stream.session.held = True
        opening = asyncio.create_task(self._open_read(model, stream, request), name="open")
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)

    async def _open_read(
        self, model: HostedModel, stream: HostedStream, request: StreamRequest
    ) -> None:
        """Begin a stream behind the reading of its prompt, if it is still there then."""
        assert model.host.reader is not None and request.prompt is not None, "there is one to read"
        failed = await read(model.host.reader, request.prompt)
        if self.streams.get(stream.session_id) is not stream:
            return
        if failed is not None:
            self._fail(stream, failed)
            return
        model.host.open(stream.session_id, request)
        stream.session.held = False
        self.wake()

    async def _drive(self) -> None:
        # Whatever goes wrong in here must reach the viewers: no silent dead loop.
        try:
            await self._drive_until_cancelled()
        except Exception as error:
            failed = Failed(f"{type(error).__name__}: {error}", traceback.format_exc())
            for model in self.hosted.values():
                self._failed(model, failed)

    async def _drive_until_cancelled(self) -> None:
        while True:
            now_s = self.now_s()
            self._driver.drop_interrupted()
            next_s = self._driver.submit_due(now_s)
            self._tick(now_s)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, min(TICK_S, next_s - now_s))):
                    await self._wake.wait()
            self._wake.clear()

    def _tick(self, now_s: float) -> None:
        for stream in self.streams:
            session = stream.session
            if session.expired(now_s) or (session.failure and stream.viewer is None):
                self.close(stream.session_id)
                continue
            session.tick(now_s, len(self.streams))
            stream.count(self.metrics)
            stream.notify()
        self.metrics.sessions.set(len(self.streams))
        self.metrics.sessions_detached.set(len(self.streams) - len(self.streams.attached))

    def _handle(self, model: HostedModel, event: HostEvent) -> None:
        match event:
            case Ready():
                self._ready(model, event)
            case Finished():
                self._finished(model, event)
            case Dropped():
                self._dropped(model, event)
            case Lost():
                self._lost(model, event)
            case Failed():
                self._failed(model, event)
            case Restarting():
                self._restarting(model, event)
            case Restarted():
                self._restarted(model, event)
        if not any(each.condition == "loading" for each in self.hosted.values()):
            self.settled.set()
        self.metrics.ready.set(self.health == "ready")
        self.wake()

    def _ready(self, model: HostedModel, event: Ready) -> None:
        info = model.info = event.info
        model.load = ModelLoad(event.step_s, info.chunk_us / 1e6)
        model.latency_s = event.latency_s
        model.become("ready", time.time())
        self.metrics.warm_step_s.labels(info.name).set(event.step_s)
        self.metrics.capacity.set(self.places())
        self._log.info(
            "model ready",
            model=info.name,
            step_ms=round(event.step_s * 1e3, 2),
            chunk_ms=info.chunk_us / 1e3,
            streams=capacity(model.load),
        )

    def _finished(self, model: HostedModel, event: Finished) -> None:
        step_s = max(event.busy_s.values(), default=event.latency_s)
        model.under_way.done(event.stream)
        self.metrics.stage_s.labels("step").observe(step_s)
        self.metrics.latency_s.observe(event.latency_s)
        self.metrics.chunks.inc()
        stream = self.streams.get(event.stream)
        if stream is None:
            return
        now_s, session = self.now_s(), stream.session
        self.metrics.late_chunks.inc(session.chunks > 0 and session.deadline_s(now_s) <= now_s)
        with self.metrics.time("deliver"):
            session.finish_step(event.chunk, step_s, now_s)
        self.metrics.lead_s.observe(session.deadline_s(now_s) - now_s)
        stream.notify()

    def _dropped(self, model: HostedModel, event: Dropped) -> None:
        model.under_way.done(event.stream)
        stream = self.streams.get(event.stream)
        if stream is not None:
            stream.session.drop_step()
            stream.notify()

    def _lost(self, model: HostedModel, event: Lost) -> None:
        model.under_way.forget(event.stream)
        self._log.error("stream lost", session_id=event.stream, reason=event.reason)
        stream = self.streams.get(event.stream)
        if stream is None:
            return
        if event.refused:
            self._fail(stream, EngineFailed(f"the model refused: {event.reason}"))
        else:
            self._fail(stream, EngineFailed("the model fails at this stream again and again"))

    def _failed(self, model: HostedModel, event: Failed) -> None:
        loaded = model.info is not None
        why = "the model stopped working" if loaded else "the model could not be loaded"
        model.become("failed", time.time(), why, event.reason)
        model.under_way.clear()
        self._log.error(why, model=model.name, reason=event.reason, exception=event.detail)
        self._fail_all(self.streams.of_model(model.name), lambda: EngineFailed(why))

    def _restarting(self, model: HostedModel, event: Restarting) -> None:
        """Nothing is lost but time: what is under way will come."""
        model.estimate_s = event.estimate_s
        model.become("restarting", time.time(), CAUSES[event.cause], event.detail)
        self.metrics.restarts.inc()
        self._log.error(
            "model is restarted",
            model=model.name,
            reason=event.detail,
            takes_s=round(event.estimate_s, 1),
        )
        for stream in self.streams.of_model(model.name):
            if stream.session.attached:
                stream.session.say(_restarting(model))
                stream.notify()

    def _restarted(self, model: HostedModel, event: Restarted) -> None:
        model.become("ready", time.time())
        self._log.info("model works again", model=model.name, took_s=round(event.took_s, 2))

    def _fail_all(self, streams: Iterable[HostedStream], error: Callable[[], StreamError]) -> None:
        for stream in streams:
            self._fail(stream, error())

    def _fail(self, stream: HostedStream, error: StreamError) -> None:
        """End a stream: its connection says why and frees it, or it is freed here."""
        stream.session.fail(error)
        stream.notify()
        if stream.viewer is None:
            self.close(stream.session_id)

    def _admit(self, load: ModelLoad, now_s: float) -> None:
        loads = {name: model.load for name, model in self.hosted.items()}
        running = [loads[stream.model] for stream in self.streams]
        frees = [stream.session.expires_in_s(now_s) for stream in self.streams]
        admit(
            load,
            [each for each in running if each is not None],
            max_sessions=self.config.max_sessions,
            frees_in_s=min((each for each in frees if each is not None), default=None),
        )

    async def _until_empty(self, limit_s: float) -> None:
        until_s = self.now_s() + limit_s
        while self.streams.attached and self.now_s() < until_s:
            await asyncio.sleep(0.02)


def _restarting(model: HostedModel) -> EngineRestarting:
    return EngineRestarting(retry_after_s=round(model.estimate_s, 1))
