"""The asyncio side of generation: sessions in, one step at a time to the worker, chunks back.

All its methods run on the event loop. Earliest deadline first decides who is stepped.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import traceback
from collections import deque
from collections.abc import Callable

from ...models.contract import PICTURE, ModelInfo
from ..config import ServerConfig
from ..logs import logger
from ..metrics import Metrics
from ..protocol.client_messages import SessionCreate, SessionResume
from ..protocol.errors import (
    Capacity,
    Draining,
    EngineFailed,
    Replaced,
    SessionExpired,
    StreamError,
    UnknownModel,
    UnknownSession,
)
from ..protocol.limits import MAX_KBPS
from ..protocol.server_messages import DrainingNotice, EngineRestarting
from ..session.control_queue import check_scene
from ..session.options import SessionOptions
from ..session.session import Session
from .health import LOADING_RETRY_S, Health, check_health
from .scheduler import (
    Candidate,
    Load,
    admit,
    capacity,
    pick,
)
from .stream import Stream
from .under_way import UnderWay
from .worker import (
    Close,
    Drop,
    Dropped,
    Failed,
    Open,
    Ready,
    Refused,
    Report,
    Restarted,
    Restarting,
    Runner,
    Step,
    Stepped,
)

TICK_S = 0.1
GOODBYE_S = 1.0
REMEMBERED_SESSIONS = 256


class Engine:
    """Every stream of this process, and the loop that keeps them generating."""

    def __init__(self, config: ServerConfig, worker: Runner, metrics: Metrics) -> None:
        self.config = config
        self.metrics = metrics
        self.health: Health = "loading"
        self.reason = ""
        self.settled = asyncio.Event()
        """Set once the models are loaded, or could not be."""
        self.models: dict[str, ModelInfo] = {}
        self.streams: dict[str, Stream] = {}
        self._worker = worker
        self._loads: dict[str, Load] = {}
        self._expired: deque[str] = deque(maxlen=REMEMBERED_SESSIONS)
        self._latency_s: dict[str, float] = {}
        self._under_way = UnderWay()
        self._restart_s = LOADING_RETRY_S
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._log = logger("rollcast.engine")

    def now_s(self) -> float:
        """The clock that all sessions are told, and that clients see as `server_ms`."""
        return asyncio.get_running_loop().time()

    # Life.

    def start(self) -> None:
        """Start the worker's thread and the loop that drives it."""
        loop = asyncio.get_running_loop()

        def report(event: Report) -> None:
            # The loop may close while the last step runs.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._handle, event)

        self._worker.start(report)
        self._task = loop.create_task(self._drive(), name="engine")

    async def drain(self) -> None:
        """Stop admitting, tell every client, and give them `drain_s` to leave."""
        if self.health in ("loading", "ready", "restarting"):
            self.health = "draining"
        self.metrics.ready.set(0)
        for stream in self._attached():
            stream.session.say(DrainingNotice(retry_after_s=self.config.drain_s))
            stream.notify()
        await self._until_empty(self.config.drain_s)
        self._fail_all(lambda: Draining("the server shuts down", retry_after_s=10.0))
        await self._until_empty(GOODBYE_S)

    async def stop(self) -> None:
        """Close every stream and end the worker's thread."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for session_id in list(self.streams):
            self.close(session_id)
        await asyncio.to_thread(self._worker.stop)

    # Streams.

    def create(self, request: SessionCreate, *, audio: bool, picture: bytes | None) -> Stream:
        """Open a new stream; `picture` is the small square of the request's one.

        Raises a StreamError: engine state, model, scene or capacity.
        """
        info = self.model(request.model)
        scene = request.scene or (info.scenes[0].name if picture is None else PICTURE)
        check_scene(info, scene, has_picture=picture is not None)
        now_s = self.now_s()
        self._admit(info, now_s)
        if self._worker.behind:
            raise Capacity("too many streams were opened at once", retry_after_s=LOADING_RETRY_S)
        limit = self.config.max_kbps or MAX_KBPS
        options = SessionOptions(
            session_id=secrets.token_urlsafe(12),
            resume_token=secrets.token_urlsafe(24),
            seed=secrets.randbelow(2**31) if request.seed is None else request.seed,
            scene=scene,
            prompt=request.prompt or "",
            has_picture=picture is not None,
            audio=audio,
            max_kbps=min(limit, request.max_kbps or limit),
            # while a chunk is under way others are played
            max_lead_chunks=self.config.max_lead_chunks
            + self._latency_s[info.name] * 1e6 / info.chunk_us,
            max_under_way=self._worker.depth,
            grace_s=self.config.grace_s,
            idle_timeout_s=self.config.idle_timeout_s,
        )
        stream = Stream(Session(info, options, now_s))
        self.streams[options.session_id] = stream
        self._worker.submit(
            Open(options.session_id, info.name, options.seed, scene, request.prompt, picture)
        )
        self.metrics.sessions_opened.inc()
        self._log.info("session opened", session_id=options.session_id, model=info.name)
        self.wake()
        return stream

    def resume(self, request: SessionResume, *, audio: bool) -> tuple[Stream, int]:
        """Go on with a stream; returns it and its next video seq. Raises a StreamError."""
        check_health(self.health, self._restart_s)
        stream = self.streams.get(request.session_id)
        if stream is None:
            if request.session_id in self._expired:
                raise SessionExpired("the stream was given up", field="session_id")
            raise UnknownSession("there is no such stream", field="session_id")
        session = stream.session
        session.check_resume(request.resume_token, request.last_seq)
        if stream.viewer is not None:
            stream.viewer.end(Replaced("the stream went on over another connection"))
            self.detach(stream)
        next_seq = session.resume(request.last_seq, audio=audio, now_s=self.now_s())
        self.metrics.sessions_resumed.inc()
        self._log.info("session resumed", session_id=request.session_id, next_seq=next_seq)
        self.wake()
        return stream, next_seq

    def detach(self, stream: Stream) -> None:
        """A connection is gone; its stream waits for `resume` until its grace time is over."""
        stream.viewer = None
        stream.session.detach(self.now_s())
        self._log.info("session detached", session_id=stream.session.options.session_id)

    def close(self, session_id: str) -> None:
        """Free a stream at once."""
        stream = self.streams.pop(session_id, None)
        if stream is None:
            return
        stream.count(self.metrics)
        stream.session.close()
        if self._worker.depth > 1:
            self._under_way.forget(session_id)
        if self.health != "failed":
            self._worker.submit(Close(session_id))
        self._expired.append(session_id)
        self._log.info("session closed", session_id=session_id, chunks=stream.session.chunks)

    def model(self, name: str | None) -> ModelInfo:
        """The model of a new stream. Raises a StreamError: engine state or model."""
        check_health(self.health, self._restart_s)
        if name is None:
            return next(iter(self.models.values()))
        if name not in self.models:
            known = ", ".join(self.models)
            raise UnknownModel(f"there is no model {name!r}, only {known}", field="model")
        return self.models[name]

    def wake(self) -> None:
        """Look again for something to generate; call after anything a session received."""
        self._wake.set()

    def places(self) -> int:
        """How many streams fit."""
        if self.config.max_sessions is not None:
            return self.config.max_sessions
        return min((capacity(load) for load in self._loads.values()), default=0)

    # Private.

    async def _drive(self) -> None:
        # Whatever goes wrong in here must reach the viewers: no silent dead loop.
        try:
            await self._drive_until_cancelled()
        except Exception as error:
            self._failed(Failed(f"{type(error).__name__}: {error}", traceback.format_exc()))

    async def _drive_until_cancelled(self) -> None:
        while True:
            now_s = self.now_s()
            self._drop_interrupted()
            next_s = self._step_next(now_s)
            self._tick(now_s)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, min(TICK_S, next_s - now_s))):
                    await self._wake.wait()
            self._wake.clear()

    def _drop_interrupted(self) -> None:
        """Before the next step: what is under way of a stream that was interrupted."""
        for session_id, stream in self.streams.items():
            if stream.session.take_drop():
                self._worker.submit(Drop(session_id))

    def _step_next(self, now_s: float) -> float:
        """Hand the most urgent step to the worker if it takes one; returns when to look again."""
        room_s = self._worker.next_step_s(now_s, self._under_way.total)
        if room_s is None or self.health not in ("ready", "draining"):
            return now_s + TICK_S
        if room_s > now_s:
            return room_s
        times = {
            session_id: stream.session.next_step_s(now_s)
            for session_id, stream in self.streams.items()
        }
        due = [session_id for session_id, at in times.items() if at is not None and at <= now_s]
        chosen = pick(Candidate(each, self._deadline_s(each, now_s)) for each in due)
        if chosen is None:
            return min((at for at in times.values() if at is not None), default=now_s + TICK_S)
        self._under_way.add(chosen)
        self._worker.submit(Step(chosen, self.streams[chosen].session.begin_step(now_s)))
        return now_s

    def _deadline_s(self, session_id: str, now_s: float) -> float:
        """When a stream runs dry, with what is under way for it."""
        session = self.streams[session_id].session
        coming = self._under_way.of(session_id) - session.dropping
        return session.deadline_s(now_s) + coming * session.info.chunk_us / 1e6

    def _tick(self, now_s: float) -> None:
        for session_id, stream in list(self.streams.items()):
            session = stream.session
            if session.expired(now_s) or (session.failure and stream.viewer is None):
                self.close(session_id)
                continue
            session.tick(now_s, len(self.streams))
            stream.count(self.metrics)
            stream.notify()
        self.metrics.sessions.set(len(self.streams))
        self.metrics.sessions_detached.set(len(self.streams) - len(self._attached()))

    def _handle(self, report: Report) -> None:
        match report:
            case Ready():
                self._ready(report)
            case Stepped():
                self._deliver(report)
            case Dropped():
                self._dropped(report)
            case Refused():
                self._refused(report)
            case Failed():
                self._failed(report)
            case Restarting():
                self._restarting(report)
            case Restarted():
                self._restarted(report)
        if self.health != "loading":
            self.settled.set()
        self.wake()

    def _ready(self, report: Ready) -> None:
        for info in report.models:
            load = Load(report.step_s[info.name], info.chunk_us / 1e6)
            self.models[info.name], self._loads[info.name] = info, load
            self._latency_s[info.name] = report.latency_s.get(info.name, 0.0)
            self.metrics.warm_step_s.labels(info.name).set(load.step_s)
            self._log.info(
                "model ready",
                model=info.name,
                step_ms=round(load.step_s * 1e3, 2),
                chunk_ms=load.chunk_s * 1e3,
                streams=capacity(load),
            )
        if self.health == "loading":
            self.health = "ready"
            self.metrics.ready.set(1)
        self.metrics.capacity.set(self.places())

    def _deliver(self, report: Stepped) -> None:
        chunk, step_s = report.chunk, report.step_s
        self._under_way.done(report.session_id)
        self.metrics.stage_s.labels("step").observe(step_s)
        self.metrics.latency_s.observe(step_s if report.latency_s is None else report.latency_s)
        self.metrics.chunks.inc()
        stream = self.streams.get(report.session_id)
        if stream is None:
            return
        now_s, session = self.now_s(), stream.session
        self.metrics.late_chunks.inc(session.chunks > 0 and session.deadline_s(now_s) <= now_s)
        with self.metrics.time("deliver"):
            session.finish_step(chunk, step_s, now_s)
        self.metrics.lead_s.observe(session.deadline_s(now_s) - now_s)
        stream.notify()

    def _dropped(self, report: Dropped) -> None:
        self._under_way.done(report.session_id)
        stream = self.streams.get(report.session_id)
        if stream is not None:
            stream.session.drop_step()
            stream.notify()

    def _refused(self, report: Refused) -> None:
        self._under_way.forget(report.session_id)
        self._log.error("stream refused", session_id=report.session_id, reason=report.reason)
        stream = self.streams.get(report.session_id)
        if stream is not None:
            self._fail(stream, EngineFailed(f"the model refused: {report.reason}"))

    def _failed(self, report: Failed) -> None:
        self.health, self.reason = "failed", report.reason
        self.metrics.ready.set(0)
        self._under_way.clear()
        self._log.error("model thread failed", reason=report.reason, exception=report.detail)
        self._fail_all(lambda: EngineFailed("the model stopped working"))

    def _restarting(self, report: Restarting) -> None:
        """Nothing is lost but time: what is under way will come."""
        self._restart_s = report.estimate_s
        if self.health == "ready":
            self.health = "restarting"
        self.metrics.ready.set(0)
        self.metrics.restarts.inc()
        self._log.error("model is restarted", reason=report.reason, takes_s=report.estimate_s)
        for stream in self._attached():
            stream.session.say(EngineRestarting(retry_after_s=round(report.estimate_s, 1)))
            stream.notify()

    def _restarted(self, report: Restarted) -> None:
        if self.health == "restarting":
            self.health = "ready"
            self.metrics.ready.set(1)
        self._log.info("model works again", took_s=round(report.took_s, 2))

    def _fail_all(self, error: Callable[[], StreamError]) -> None:
        for stream in list(self.streams.values()):
            self._fail(stream, error())

    def _fail(self, stream: Stream, error: StreamError) -> None:
        """End a stream: its connection says why and frees it, or it is freed here."""
        stream.session.fail(error)
        stream.notify()
        if stream.viewer is None:
            self.close(stream.session.options.session_id)

    def _admit(self, info: ModelInfo, now_s: float) -> None:
        frees = [stream.session.expires_in_s(now_s) for stream in self.streams.values()]
        admit(
            self._loads[info.name],
            [self._loads[stream.session.info.name] for stream in self.streams.values()],
            max_sessions=self.config.max_sessions,
            frees_in_s=min((each for each in frees if each is not None), default=None),
        )

    async def _until_empty(self, limit_s: float) -> None:
        until_s = self.now_s() + limit_s
        while self._attached() and self.now_s() < until_s:
            await asyncio.sleep(0.02)

    def _attached(self) -> list[Stream]:
        return [stream for stream in self.streams.values() if stream.session.attached]
