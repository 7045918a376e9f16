"""The asyncio side of generation: sessions in, chunks to the models' hosts, chunks back.

All its methods run on the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import secrets
import time
from collections.abc import Callable, Sequence
from functools import partial

from ...models.contract import Controls, ModelInfo
from ...models.pipeline.backoff import Backoff
from ...models.pipeline.past import Past
from ..audience.audience import Audience
from ..config import ServerConfig
from ..handover.journal import shown_from
from ..handover.records import FORMAT, Adoption, Origin
from ..handover.writer import JournalWriter
from ..logs import logger
from ..metrics import Metrics
from ..protocol.client_messages import SessionCreate, SessionResume
from ..protocol.errors import (
    Capacity,
    Draining,
    Ended,
    InvalidField,
    Replaced,
    UnknownModel,
    UnknownSession,
)
from ..protocol.limits import MAX_KBPS
from ..protocol.messages import pictures_of
from ..protocol.server_messages import DrainingNotice, Viewers
from ..session.options import SessionOptions
from ..session.request import stream_request
from ..session.session import Session
from ..session.uplink import uplink_rate
from ..session.video_limits import VideoLimits
from .driver import TICK_S, Driver
from .health import Health, check_health, health_of
from .hosted_model import Condition, HostedModel
from .hosted_stream import HostedStream
from .model_events import ModelEvents
from .model_host import HostEvent, ModelHost
from .opening import Opening
from .parking import Parking
from .place_line import PlaceLine, Waiter
from .places import Place, Places
from .scheduler import RETRY_S
from .stall_watch import StallWatch
from .stream_keeper import StreamKeeper

GOODBYE_S = 1.0
# between turns of the loop that fail one after the other
_TURNS = Backoff(first_s=0.1, most_s=5.0)


class Engine:
    """Every stream of this process, and the loop that keeps them generating."""

    def __init__(self, config: ServerConfig, hosts: Sequence[ModelHost], metrics: Metrics) -> None:
        self.config = config
        self.metrics = metrics
        self.draining = False
        self.rehearses = False
        """Whether it is not yet to be given streams, though it could."""
        self.settled = asyncio.Event()
        """Set once the models are loaded, or could not be."""
        now_s, lead = time.time(), config.max_lead_chunks
        self.hosted = {host.name: HostedModel(host, now_s, config.turns, lead) for host in hosts}
        self._keeper = StreamKeeper(self.hosted, metrics, self._freed)
        self.streams = self._keeper.streams
        self.places = Places(config, self.hosted, self._keeper, self._park)
        self.line = PlaceLine(config, self.places, self.streams, metrics, self.now_s)
        self.parking = Parking(
            config,
            self.hosted,
            self._keeper,
            self.places,
            self.line,
            metrics,
            self.now_s,
            self.wake,
        )
        self.stalls = StallWatch(time.monotonic())
        self._opening = Opening(self._keeper, self.now_s, self.wake)
        self._events = ModelEvents(self._keeper, metrics, self.now_s, self.parking.parked)
        self._driver = Driver(self.hosted, self.streams, self._keeper.guard, metrics)
        self._failed_turns = 0
        self._concerns: list[Callable[[], str]] = []
        self._wake = asyncio.Event()
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
        self.metrics.tasks.set_function(lambda: len(asyncio.all_tasks(loop)))

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
        notice = DrainingNotice(retry_after_s=self.config.drain_s)
        self.line.refuse_all(_shuts_down)
        for stream in self.streams:
            stream.audience.say(notice)
            if stream.session.attached:
                stream.session.say(notice)
                stream.notify()
        await self._until_empty(self.config.drain_s)
        self._keeper.fail_all(self.streams, _shuts_down)
        await self._until_empty(GOODBYE_S)

    async def stop(self) -> None:
        """Close every stream and end the models' hosts."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._opening.cancel()
        self.parking.close()
        for stream in self.streams:
            self.close(stream.session_id)
        stops = (asyncio.to_thread(model.host.stop) for model in self.hosted.values())
        await asyncio.gather(*stops)

    # Streams.

    def hold(self, message: SessionCreate, client: str) -> Place | Waiter:
        """A place for a stream that is to be opened, or a turn in the line of those who wait.

        It is held until `release`, or until the stream takes it; `client` is whose quota it counts
        for. Raises a StreamError: engine state, model, request or capacity. Where all places are
        taken, a stream that nobody watches loses its own.
        """
        model = self._model(message.model)
        assert model.info is not None, "the model is ready"
        # what is wrong whatever the pictures are is said before anybody waits or loses a place
        stream_request(message, model.info, 0, **dict.fromkeys(pictures_of(message), b""))
        return self.line.hold(model, client, message.ticket)

    def create(
        self,
        message: SessionCreate,
        place: Place,
        *,
        audio: bool,
        picture: bytes | None = None,
        image: bytes | None = None,
        session_id: str | None = None,
    ) -> HostedStream:
        """Open a new stream at a place that was reserved for it, which it takes.

        `picture` and `image` are what was made of the message's own; `session_id` is its name if
        somebody else gives it one. Raises a StreamError: engine state or request.
        """
        model = self._model(place.model.name)
        info = place.info
        request = stream_request(
            message, info, secrets.randbelow(2**31), picture=picture, image=image
        )
        now_s, most = self.now_s(), self.config.max_lead_chunks
        lead_chunks = min(most, message.lead_chunks or most)
        options = SessionOptions(
            session_id=session_id or secrets.token_urlsafe(12),
            resume_token=secrets.token_urlsafe(24),
            request=request,
            audio=audio,
            audio_codec=message.audio_codec,
            audio_rate=uplink_rate(message),
            max_kbps=self.config.max_kbps or MAX_KBPS,
            video=VideoLimits().changed(message),
            # while a chunk is under way others are played
            max_lead_chunks=lead_chunks + model.latency_s * 1e6 / info.chunk_us,
            max_under_way=model.host.depth,
            grace_s=self.config.grace_s,
            idle_timeout_s=self.config.idle_timeout_s,
            max_duration_s=self.config.max_duration_s,
        )
        stream = self._hosted(model, Session(info, options, now_s), place.client)
        if self.config.fleet_key is not None:
            stream.journal = JournalWriter(
                Origin(
                    FORMAT,
                    model.name,
                    options,
                    record=message.record,
                    record_pictures=message.record_pictures,
                )
            )
            stream.write(now_s)
        if model.host.logs is not None:
            stream.recorded = model.host.logs.consents.give(
                options.session_id,
                options.resume_token,
                record=message.record,
                pictures=message.record_pictures,
            )
        self.places.release(place)
        stream.change_quality(model.quality)
        self.streams.add(stream)
        self._opening.begin(model.host, stream, request)
        self.metrics.sessions_opened.inc()
        self._log.info("session opened", session_id=options.session_id, model=info.name)
        self.wake()
        return stream

    def resume(
        self, message: SessionResume, *, audio: bool, epoch: int = 0
    ) -> tuple[HostedStream, int]:
        """Go on with a stream; returns it and its next video seq. Raises a StreamError."""
        if self.health in ("loading", "draining", "failed"):
            check_health(None, self.health)
        stream = self.streams.to_resume(message)
        check_epoch(stream, epoch)
        stream.epoch = epoch
        if stream.viewer is not None:
            stream.viewer.end(Replaced("the stream went on over another connection"))
            self.detach(stream)
        next_seq = stream.session.resume(message.last_seq, audio=audio, now_s=self.now_s())
        restarting = self.hosted[stream.model]
        if restarting.condition == "restarting":
            stream.session.say(restarting.notice)
        if len(stream.audience):
            stream.session.say(Viewers(count=len(stream.audience)))
        self.metrics.sessions_resumed.inc()
        self._log.info("session resumed", session_id=message.session_id, next_seq=next_seq)
        self.wake()
        return stream, next_seq

    def adopt(self, adoption: Adoption) -> HostedStream:
        """Go on with a stream that another server had; it is there once it is `whole`.

        Raises a StreamError: engine state or capacity, or that the stream is here and not older;
        and ValueError for a record that contradicts itself.
        """
        origin, progress = adoption.origin, adoption.progress
        model = self._model(origin.model)
        session_id = origin.options.session_id
        older = self.streams.get(session_id)
        if older is not None:
            check_epoch(older, adoption.epoch, mine=True)
            self.close(session_id)
        now_s = self.now_s()
        place = self.places.hold(model, adoption.client, now_s)
        try:
            options = dataclasses.replace(origin.options, max_under_way=model.host.depth)
            session = Session(place.info, options, now_s)
            session.load(
                progress.state,
                progress.audio,
                progress.original,
                adoption.after_seq,
                now_s,
                None if adoption.alone else adoption.position_us,
            )
            session.generation = max(session.generation, adoption.generation)
            if adoption.alone:
                session.detach(now_s)
            stream = self._hosted(model, session, adoption.client)
            stream.epoch, stream.audience.epoch = adoption.epoch, progress.share_epoch
            stream.journal = _journal_of(adoption)
            stream.film = progress.film
            if model.host.logs is not None:
                stream.recorded = model.host.logs.consents.give(
                    session_id,
                    origin.options.resume_token,
                    record=origin.record,
                    pictures=origin.record_pictures,
                    brought=progress.brought,
                )
            past, rest = _past_of(adoption)
        finally:
            self.places.release(place)
        self._opening.go_on(model.host, stream, past)
        self.streams.add(stream)
        for _ in range(past.behind + 1 + len(past.controls) - past.shown_from):
            model.under_way.add(session_id)
        if session.dropping:
            model.host.drop(session_id)
        for controls in rest:
            model.under_way.add(session_id)
            model.host.submit(session_id, controls)
        if session.missing is not None:
            stream.whole.clear()
        self._log.info("session taken over", session_id=session_id, chunks=session.chunks)
        self.wake()
        return stream

    def release(self, session_id: str, epoch: int) -> None:
        """Let go of a stream that another server will go on with; its gateway is told all of it.

        Raises UnknownSession, also for one that was given to this server later.
        """
        stream = self.streams.get(session_id)
        if stream is None:
            raise UnknownSession("there is no such stream", field="session_id")
        check_epoch(stream, epoch)
        stream.session.held, stream.gone = True, True
        stream.write(self.now_s())
        stream.notify()
        if stream.viewer is None:
            self.close(session_id)

    def watched(self, session_id: str, epoch: int) -> HostedStream:
        """The stream of a share link. Raises a StreamError."""
        if self.health in ("loading", "draining", "failed"):
            check_health(None, self.health)
        return self.streams.to_watch(session_id, epoch)

    def check_viewers(self, address: str) -> None:
        """Raise Capacity if so many of an address watch streams that no more may."""
        most = self.config.max_viewers_per_address
        if sum(stream.audience.of_address(address) for stream in self.streams) >= most:
            raise Capacity(
                f"{most} watch from one address, and no more may",
                hint="Come again when somebody has left.",
                retry_after_s=RETRY_S,
            )

    def detach(self, stream: HostedStream) -> None:
        """A connection is gone; its stream waits for `resume` until its grace time is over."""
        stream.viewer = None
        if stream.journal is not None:
            stream.journal.detach()
        stream.session.detach(self.now_s())
        self._log.info("session detached", session_id=stream.session_id)

    def close(self, session_id: str) -> None:
        """Free a stream at once."""
        self._keeper.close(session_id)

    def end(self, session_id: str) -> bool:
        """End a stream for its operator; false when there is no such one."""
        stream = self.streams.get(session_id)
        if stream is None:
            return False
        self._keeper.fail(stream, Ended("the stream was ended by the server's operator"))
        self.close(session_id)
        return True

    def wake(self) -> None:
        """Look again for something to generate; call after anything a session received."""
        self._wake.set()

    def free_places(self) -> int:
        """How many more streams would be admitted now, of the model that takes the most."""
        return 0 if self.draining else self.places.free

    # Private.

    def _hosted(self, model: HostedModel, session: Session, client: str) -> HostedStream:
        info, options = session.info, session.options
        audience = Audience(
            info,
            most=self.config.max_viewers,
            lead_us=(options.max_lead_chunks + 1) * info.chunk_us,
            kbps=VideoLimits().kbps(info, options.max_kbps),
            idle_timeout_s=self.config.idle_timeout_s,
        )
        return HostedStream(session, model.name, audience, client)

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
            self._mind_quality(now_s)
            self.line.serve()
            self.parking.serve(now_s)
        except Exception:
            self._failed_turns += 1
            self._log.exception("the engine fails", times=self._failed_turns)
            return _TURNS.pause_s(self._failed_turns)
        self._failed_turns = 0
        return max(0.0, min(TICK_S, next_s - now_s))

    def _park(self, now_s: float) -> bool:
        return self.parking.make_room(now_s)

    def _freed(self, stream: HostedStream) -> None:
        """A stream has ended, and somebody may have waited for its place."""
        if not self.parking.forget(stream.session_id):
            self.line.held(stream.session.age_s(self.now_s()))
        self.wake()

    def _excuse(self, stall_s: float, now_s: float) -> None:
        if not stall_s:
            return
        self._log.warning("the server stood still", for_s=round(stall_s, 1))
        for model in self.hosted.values():
            if model.ladder is not None:
                model.ladder.excuse(now_s)
        for stream in self.streams:
            stream.session.excuse(now_s - stall_s, now_s)
            stream.audience.excuse(stall_s)

    def _tick(self, now_s: float) -> None:
        for stream in self.streams:
            with self._keeper.guard(stream):
                self._tick_stream(stream, now_s)
        self.metrics.sessions.set(len(self.streams))
        self.metrics.viewers.set(sum(len(stream.audience) for stream in self.streams))
        self.metrics.sessions_detached.set(len(self.streams) - len(self.streams.attached))
        self.metrics.capacity.set(self.places.total)

    def _mind_quality(self, now_s: float) -> None:
        """Let the streams of a model that is too slow give something up, or have it again."""
        if self.config.keep_quality:
            return
        for model in self.hosted.values():
            if model.ladder is None or (times := model.ladder.look(now_s)) is None:
                continue
            if model.step_s is not None:
                model.step_s.scale(times)
            quality = model.quality
            self.metrics.quality_level.labels(model.name).set(quality.level)
            self._log.warning(
                "quality changes", model=model.name, level=quality.level, why=quality.why
            )
            for stream in self.streams.of_model(model.name):
                stream.change_quality(quality)

    def _tick_stream(self, stream: HostedStream, now_s: float) -> None:
        session = stream.session
        if session.expired(now_s) or (session.failure and stream.viewer is None):
            self.close(stream.session_id)
            return
        session.tick(now_s, len(self.streams))
        if stream.journal is not None and stream.journal.due(now_s):
            stream.write(now_s)
        news = stream.audience.tick(session.public_state(now_s), now_s)
        if news is not None and session.attached:
            session.say(news)
        stream.count(self.metrics)
        stream.notify()

    def _handle(self, model: HostedModel, event: HostEvent) -> None:
        self._events.take(model, event)
        if not any(each.condition == "loading" for each in self.hosted.values()):
            self.settled.set()
        self.metrics.ready.set(self.health == "ready")
        self.wake()

    async def _until_empty(self, limit_s: float) -> None:
        until_s = self.now_s() + limit_s
        while self.streams.attached and self.now_s() < until_s:
            await asyncio.sleep(0.02)


def _shuts_down() -> Draining:
    return Draining("the server shuts down", retry_after_s=10.0)


def check_epoch(stream: HostedStream, epoch: int, *, mine: bool = False) -> None:
    """Raise UnknownSession for who is late: the stream was given away since.

    `mine`: also for who comes with the same epoch, since the stream is here already.
    """
    if epoch < stream.epoch or (mine and epoch == stream.epoch):
        raise UnknownSession(
            f"the stream is in epoch {stream.epoch}, and this is of epoch {epoch}",
            field="session_id",
        )


def _journal_of(adoption: Adoption) -> JournalWriter:
    """The journal of a stream that is taken over, as far as it goes."""
    writer = JournalWriter(adoption.origin)
    if adoption.snapshot is not None:
        writer.take_over(adoption.snapshot)
    writer.take_over(adoption.progress)
    return writer


def _past_of(adoption: Adoption) -> tuple[Past, list[Controls]]:
    """What the executor goes on from, and the steps begun behind those that nobody should see."""
    progress, snapshot = adoption.progress, adoption.snapshot
    state = progress.state
    behind = -1 if snapshot is None else snapshot.behind
    if progress.first != behind + 1:
        raise InvalidField(f"controls of step {progress.first} behind a snapshot of {behind}")
    count = state.steps + state.interrupted - progress.first
    past = Past(
        request=adoption.origin.options.request,
        parts={} if snapshot is None else snapshot.parts,
        behind=behind,
        controls=progress.controls[:count],
        shown_from=shown_from(state, adoption.after_seq),
        rows=progress.rows,
        small=snapshot is None or snapshot.small,
    )
    return past, progress.controls[count:]
