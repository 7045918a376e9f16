"""The asyncio side of generation: sessions in, chunks to the models' hosts, chunks back.

All its methods run on the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from ...models.contract import ModelInfo, StreamRequest
from ...models.pipeline.backoff import Backoff
from ...models.pipeline.events import Dropped, Finished, Lost, Restarted, Restarting
from ...models.pipeline.recent import Recent
from ..config import ServerConfig
from ..logs import logger
from ..metrics import Metrics
from ..protocol.client_messages import Prompt, SessionCreate, SessionResume
from ..protocol.errors import (
    Capacity,
    Draining,
    Ended,
    EngineFailed,
    Replaced,
    StreamError,
    UnknownModel,
)
from ..protocol.limits import MAX_KBPS
from ..protocol.messages import pictures_of
from ..protocol.server_messages import DrainingNotice, EngineRestarting
from ..session.options import SessionOptions
from ..session.request import stream_request
from ..session.session import Session
from ..session.uplink import uplink_rate
from ..session.video_limits import VideoLimits
from .driver import TICK_S, Driver
from .health import Health, check_health, health_of
from .hosted_model import CAUSES, LOADING_RETRY_S, Condition, HostedModel
from .hosted_stream import HostedStream
from .model_host import Failed, HostEvent, ModelHost, Ready
from .prompt_desk import PromptDesk, read
from .scheduler import RETRY_S, ModelLoad, admit, capacity, free_places
from .stall_watch import StallWatch
from .stream_registry import StreamRegistry
from .unwatched import longest_unwatched

GOODBYE_S = 1.0
# between turns of the loop that fail one after the other
_TURNS = Backoff(first_s=0.1, most_s=5.0)


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Room for one more stream of a model, held until it is opened; `client` is its quota's."""

    model: HostedModel
    info: ModelInfo
    client: str


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
        self.stalls = StallWatch(time.monotonic())
        self._driver = Driver(self.hosted, self.streams, self._guard)
        self._failed_turns = 0
        self._concerns: list[Callable[[], str]] = []
        self._wake = asyncio.Event()
        self._reserved: list[Place] = []
        """Places of streams whose pictures are being looked at."""
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
        if self._failed_turns > 1:
            return "failed"
        conditions: list[Condition] = [model.condition for model in self.hosted.values()]
        return health_of(conditions, draining=self.draining)

    @property
    def reason(self) -> str:
        """Why models failed, for who runs the server: it may quote an exception."""
        return "; ".join(each.detail for each in self.hosted.values() if each.detail)

    @property
    def unwell(self) -> str:
        """Why this server cannot do its work, in words for anyone; empty while it can."""
        if self.health == "failed":
            return "no model works"
        if self.health == "restarting":
            return "the model is being restarted"
        return next((why for concern in self._concerns if (why := concern())), "")

    def mind(self, concern: Callable[[], str]) -> None:
        """Let `unwell` also say what this says, if anything."""
        self._concerns.append(concern)

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

    @contextlib.contextmanager
    def reserve(self, message: SessionCreate, client: str) -> Iterator[Place]:
        """Hold a place for a stream that is being opened, while its pictures are looked at.

        `client` is whose quota it counts for. Raises a StreamError: engine state, model, request
        or capacity. Where all places are taken, a stream that nobody watches loses its own.
        """
        model = self._model(message.model)
        assert model.info is not None, "the model is ready"
        # what is wrong whatever the pictures are is said before anybody loses a place
        stream_request(message, model.info, 0, **dict.fromkeys(pictures_of(message), b""))
        self._check_room(model, client)
        place = Place(model, model.info, client)
        self._reserved.append(place)
        try:
            yield place
        finally:
            self._release(place)

    def create(
        self,
        message: SessionCreate,
        place: Place,
        *,
        audio: bool,
        picture: bytes | None = None,
        image: bytes | None = None,
    ) -> HostedStream:
        """Open a new stream at a place that was reserved for it, which it takes.

        `picture` and `image` are what was made of the message's own. Raises a StreamError: engine
        state or request.
        """
        model = self._model(place.model.name)
        info = place.info
        request = stream_request(
            message, info, secrets.randbelow(2**31), picture=picture, image=image
        )
        now_s = self.now_s()
        options = SessionOptions(
            session_id=secrets.token_urlsafe(12),
            resume_token=secrets.token_urlsafe(24),
            request=request,
            audio=audio,
            audio_codec=message.audio_codec,
            audio_rate=uplink_rate(message),
            max_kbps=self.config.max_kbps or MAX_KBPS,
            video=VideoLimits().changed(message),
            # while a chunk is under way others are played
            max_lead_chunks=self.config.max_lead_chunks + model.latency_s * 1e6 / info.chunk_us,
            max_under_way=model.host.depth,
            grace_s=self.config.grace_s,
            idle_timeout_s=self.config.idle_timeout_s,
            max_duration_s=self.config.max_duration_s,
        )
        stream = HostedStream(Session(info, options, now_s), model.name, place.client)
        self._release(place)
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
        model.host.close(session_id)
        self._log.info("session closed", session_id=session_id, chunks=stream.session.chunks)

    def end(self, session_id: str) -> bool:
        """End a stream for its operator; false when there is no such one."""
        stream = self.streams.get(session_id)
        if stream is None:
            return False
        self._fail(stream, Ended("the stream was ended by the server's operator"))
        self.close(session_id)
        return True

    def wake(self) -> None:
        """Look again for something to generate; call after anything a session received."""
        self._wake.set()

    def places(self) -> int:
        """How many streams fit in all."""
        if self.config.max_sessions is not None:
            return self.config.max_sessions
        loads = (model.load for model in self.hosted.values())
        return min((capacity(load) for load in loads if load is not None), default=0)

    def free_places(self) -> int:
        """How many more streams would be admitted now, of the model that takes the most."""
        usable = [model.load for model in self.hosted.values() if model.condition == "ready"]
        running, limit = self._running_loads(), self.config.max_sessions
        free = (free_places(load, running, max_sessions=limit) for load in usable if load)
        return 0 if self.draining else max(free, default=0)

    # Private.

    def _check_room(self, model: HostedModel, client: str) -> None:
        """Make room for a stream of a model. Raises a StreamError if there is none."""
        self._check_quota(client)
        assert model.load is not None, "the model is ready"
        now_s = self.now_s()
        try:
            self._admit(model.load, now_s)
        except Capacity:
            idle = longest_unwatched(self.streams, now_s, self.config.unwatched_s)
            if idle is None:
                raise
            self._give_up(idle)
            self._admit(model.load, now_s)
        if model.host.behind:
            raise Capacity("too many streams were opened at once", retry_after_s=LOADING_RETRY_S)

    def _release(self, place: Place) -> None:
        if place in self._reserved:
            self._reserved.remove(place)

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
        """Turn by turn, without an end; turns that fail make `health` say so."""
        self.stalls.beat(self.now_s())
        while True:
            pause_s = self._turn()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._wake.wait()
            self._wake.clear()
            if self._failed_turns:
                # or whatever wakes it would make it fail as often
                await asyncio.sleep(pause_s)

    def _turn(self) -> float:
        """Hand out what is due and let time pass; seconds until the next turn."""
        now_s = self.now_s()
        try:
            self._excuse(self.stalls.beat(now_s), now_s)
            self._driver.drop_interrupted()
            next_s = self._driver.submit_due(now_s)
            self._tick(now_s)
        except Exception:
            self._failed_turns += 1
            self._log.exception("the engine fails", times=self._failed_turns)
            return _TURNS.pause_s(self._failed_turns)
        self._failed_turns = 0
        return max(0.0, min(TICK_S, next_s - now_s))

    def _excuse(self, stall_s: float, now_s: float) -> None:
        if not stall_s:
            return
        self._log.warning("the server stood still", for_s=round(stall_s, 1))
        for stream in self.streams:
            stream.session.excuse(now_s - stall_s, now_s)

    def _tick(self, now_s: float) -> None:
        for stream in self.streams:
            with self._guard(stream):
                self._tick_stream(stream, now_s)
        self.metrics.sessions.set(len(self.streams))
        self.metrics.sessions_detached.set(len(self.streams) - len(self.streams.attached))
        self.metrics.capacity.set(self.places())

    def _tick_stream(self, stream: HostedStream, now_s: float) -> None:
        session = stream.session
        if session.expired(now_s) or (session.failure and stream.viewer is None):
            self.close(stream.session_id)
            return
        session.tick(now_s, len(self.streams))
        stream.count(self.metrics)
        stream.notify()

    @contextlib.contextmanager
    def _guard(self, stream: HostedStream) -> Iterator[None]:
        """What fails here ends this stream, and neither the loop nor the others."""
        try:
            yield
        except Exception:
            self._log.exception("a stream fails", session_id=stream.session_id)
            self._fail(stream, EngineFailed("the server failed at this stream"))

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
        model.step_s = Recent(event.step_s)
        model.latency_s = event.latency_s
        model.become("ready", time.time())
        self.metrics.warm_step_s.labels(info.name).set(event.step_s)
        self.metrics.capacity.set(self.places())
        self._log.info(
            "model ready",
            model=info.name,
            step_ms=round(event.step_s * 1e3, 2),
            chunk_ms=info.chunk_us / 1e3,
            streams=capacity(ModelLoad(event.step_s, info.chunk_us / 1e6)),
        )

    def _finished(self, model: HostedModel, event: Finished) -> None:
        step_s = max(event.busy_s.values(), default=event.latency_s)
        model.under_way.done(event.stream)
        if model.step_s is not None and event.busy_s:
            model.step_s.add(step_s)
        self.metrics.stage_s.labels("step").observe(step_s)
        self.metrics.latency_s.observe(event.latency_s)
        self.metrics.chunks.inc()
        stream = self.streams.get(event.stream)
        if stream is None:
            return
        with self._guard(stream):
            self._deliver(stream, event, step_s)

    def _deliver(self, stream: HostedStream, event: Finished, step_s: float) -> None:
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
            with self._guard(stream):
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

    def _give_up(self, stream: HostedStream) -> None:
        """Take the place of a stream that nobody watches; its connection says why."""
        limit_s = self.config.unwatched_s
        stream.session.fail(
            Capacity(
                f"nothing was watched or said for {limit_s:g} s, and somebody else waited",
                hint="Open a stream again when somebody watches it.",
                retry_after_s=RETRY_S,
            )
        )
        stream.notify()
        self._log.info("session gave its place to another", session_id=stream.session_id)
        self.close(stream.session_id)

    def _check_quota(self, client: str) -> None:
        most = self.config.max_per_client
        mine = sum(each.client == client for each in (*self.streams, *self._reserved))
        if most is not None and mine >= most:
            raise Capacity(
                f"one client may have {most} streams at once, and has them",
                hint="Close one of your streams first, or let it end.",
                retry_after_s=RETRY_S,
            )

    def _admit(self, load: ModelLoad, now_s: float) -> None:
        frees = [stream.session.expires_in_s(now_s) for stream in self.streams]
        admit(
            load,
            self._running_loads(),
            max_sessions=self.config.max_sessions,
            frees_in_s=min((each for each in frees if each is not None), default=None),
        )

    def _running_loads(self) -> list[ModelLoad]:
        """What each stream asks of the machine, and each that is being opened."""
        loads = {name: model.load for name, model in self.hosted.items()}
        names = [stream.model for stream in self.streams]
        running = (loads[name] for name in names + [place.model.name for place in self._reserved])
        return [load for load in running if load is not None]

    async def _until_empty(self, limit_s: float) -> None:
        until_s = self.now_s() + limit_s
        while self.streams.attached and self.now_s() < until_s:
            await asyncio.sleep(0.02)


def _restarting(model: HostedModel) -> EngineRestarting:
    return EngineRestarting(retry_after_s=round(model.estimate_s, 1))
