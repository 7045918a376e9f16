"""Streams that stand still give their places to who waits, and come back at the same frame.

A stream stands still while its client has paused it, is lost and may come back, or does not watch.
Its model then forgets it: what the executor saved of it lies in the host's memory or on disk. When
it is to go on it has a place as others have, which it may have to wait for. All on the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from ...models.pipeline.past import Past
from ..config import ServerConfig
from ..logs import logger
from ..metrics import Metrics
from ..protocol.errors import EngineFailed, StreamError
from ..protocol.server_messages import StreamParked
from .hosted_model import HostedModel
from .hosted_stream import HostedStream
from .parked_files import byte_count, check_folder, to_disk, to_memory
from .parking_lot import ParkingLot, Where
from .place_line import PlaceLine, Waiter
from .places import Place, Places
from .stream_keeper import StreamKeeper
from .waiting_line import Ticket

MEGABYTE = 1_000_000


@dataclass(slots=True)
class _Parked:
    """A stream that is being parked (without `past`), or is."""

    stream: HostedStream
    unwatched: bool
    """Whether it was parked only for that, and goes on as soon as somebody watches."""
    since_s: float
    phase: Literal["saving", "parked", "fetching"] = "saving"
    past: Past | None = None
    waiter: Waiter | None = None
    ticket: Ticket | None = None
    wanted_s: float | None = None
    """Since when it is to go on."""
    work: asyncio.Task[None] | None = field(default=None, repr=False)


class Parking:
    """Who is parked; `serve` is called several times a second.

    Raises ValueError for a folder that cannot be written.
    """

    def __init__(
        self,
        config: ServerConfig,
        hosted: Mapping[str, HostedModel],
        keeper: StreamKeeper,
        places: Places,
        line: PlaceLine,
        metrics: Metrics,
        now_s: Callable[[], float],
        wake: Callable[[], None],
    ) -> None:
        self._config = config
        self._hosted = hosted
        self._keeper = keeper
        self._places = places
        self._line = line
        self._metrics = metrics
        self._now_s = now_s
        self._wake = wake
        on_disk = config.park_disk_mb if config.park_dir is not None else 0
        memory = 0 if config.fleet_key is not None else config.park_memory_mb
        self.lot = ParkingLot(memory * MEGABYTE, on_disk * MEGABYTE)
        self._streams: dict[str, _Parked] = {}
        self._saved_bytes: dict[str, int] = {}
        """What was saved of the latest stream of each model."""
        self._log = logger("rollcast.engine")
        if config.park_dir is not None:
            check_folder(config.park_dir)

    def __len__(self) -> int:
        """Streams that have no place for they are parked."""
        return sum(each.stream.parked is not None for each in self._streams.values())

    def make_room(self, now_s: float) -> bool:
        """Whether a place is about to come free: of a stream that is being parked."""
        if any(each.phase == "saving" for each in self._streams.values()):
            return True
        still = [each for each in self._keeper.streams if self._may_park(each, now_s)]
        stream = max(still, key=lambda each: each.session.still_s(now_s), default=None)
        if stream is not None:
            self._park(stream, now_s)
        return stream is not None

    def parked(self, session_id: str, past: Past) -> None:
        """The executor has let go of a stream."""
        entry = self._streams.get(session_id)
        if entry is None:
            return
        stream, size = entry.stream, byte_count(past)
        self._saved_bytes[stream.model] = size
        where = self.lot.take(session_id, size, stream.session.kept_bytes)
        entry.past = past
        if where == "disk":
            entry.work = asyncio.create_task(self._move_to_disk(entry), name="park")
        elif where == "memory":
            self._has_left(entry, where)
        else:
            self._log.info("no room to park a stream", session_id=session_id, bytes=size)
            self._go_on(entry, past)

    def serve(self, now_s: float) -> None:
        """Let those go on that are to, where there are places; park more where nothing else helps.

        Those that have to wait are told how they stand.
        """
        for model in self._hosted.values():
            if model.ladder is not None and model.ladder.parks:
                self._park_all(model, now_s)
        for entry in list(self._streams.values()):
            if entry.phase == "parked":
                with self._keeper.guard(entry.stream):
                    self._serve(entry, now_s)
        for where in ("memory", "disk"):
            self._metrics.parked.labels(where).set(self.lot.count(where))
            self._metrics.parked_bytes.labels(where).set(self.lot.used(where))

    def forget(self, session_id: str) -> bool:
        """A stream has ended; whether it was parked."""
        entry = self._streams.pop(session_id, None)
        self.lot.free(session_id)
        if entry is None:
            return False
        if entry.waiter is not None:
            self._line.leave(entry.waiter)
        if entry.work is not None:
            entry.work.cancel()
        return entry.stream.parked is not None

    def close(self) -> None:
        """Nothing more is moved."""
        for entry in self._streams.values():
            if entry.work is not None:
                entry.work.cancel()

    # Private.

    def _may_park(self, stream: HostedStream, now_s: float) -> bool:
        """Whether it stands still for long enough, can be saved, and there is room for it."""
        session, model = stream.session, self._hosted[stream.model]
        still = session.still_s(now_s) >= self._config.park_after_s or self._is_unwatched(
            stream, now_s
        )
        if not still or session.held or session.failure is not None or stream.gone:
            return False
        if stream.session_id in self._streams or model.condition != "ready":
            return False
        if not model.host.parks or model.under_way.of(stream.session_id):
            return False
        size = self._saved_bytes.get(stream.model, 0)
        return self.lot.place_for(size, session.kept_bytes) is not None

    def _is_unwatched(self, stream: HostedStream, now_s: float) -> bool:
        session = stream.session
        return session.attached and session.unwatched_s(now_s) >= self._config.unwatched_s

    def _park_all(self, model: HostedModel, now_s: float) -> None:
        for stream in self._keeper.streams.of_model(model.name):
            if self._may_park(stream, now_s):
                self._park(stream, now_s)

    def _park(self, stream: HostedStream, now_s: float) -> None:
        session = stream.session
        unwatched = session.attached and not session.paused
        self._streams[stream.session_id] = _Parked(stream, unwatched, now_s)
        session.held = True
        self._hosted[stream.model].host.park(stream.session_id)

    def _has_left(self, entry: _Parked, where: Where) -> None:
        entry.phase, entry.stream.parked = "parked", where
        self._metrics.sessions_parked.inc()
        self._log.info("session parked", session_id=entry.stream.session_id, where=where)
        self._wake()

    async def _move_to_disk(self, entry: _Parked) -> None:
        assert entry.past is not None and self._config.park_dir is not None, "it was saved"
        try:
            entry.past = await asyncio.to_thread(to_disk, entry.past, self._config.park_dir)
        except OSError as error:
            self._log.error("cannot park on disk", reason=str(error))
            self.lot.free(entry.stream.session_id)
            self._go_on(entry, entry.past)
        else:
            self._has_left(entry, "disk")

    def _serve(self, entry: _Parked, now_s: float) -> None:
        stream = entry.stream
        model = self._hosted[stream.model]
        stream.session.parked = StreamParked()
        if not self._is_wanted(entry, now_s):
            self._step_aside(entry)
            return
        entry.wanted_s = entry.wanted_s or now_s
        if model.condition == "failed":
            self._step_aside(entry)
            self._keeper.fail(stream, EngineFailed("the model stopped working"))
        elif entry.waiter is None and model.condition == "ready":
            held = self._line.come_again(model, stream.client, entry.ticket)
            if isinstance(held, Place):
                self._take(entry, held)
                return
            entry.waiter, entry.ticket = held, held.ticket
        if entry.waiter is not None:
            self._await(entry, entry.waiter)

    def _is_wanted(self, entry: _Parked, now_s: float) -> bool:
        session = entry.stream.session
        if not session.attached or session.paused or session.failure is not None:
            return False
        return not entry.unwatched or session.unwatched_s(now_s) < now_s - entry.since_s

    def _step_aside(self, entry: _Parked) -> None:
        """It waits no more; whoever was only lost finds its turn again, for a while."""
        entry.wanted_s = None
        if entry.waiter is None:
            return
        if entry.stream.session.attached:
            self._line.leave(entry.waiter)
            entry.ticket = None
        else:
            self._line.lose(entry.waiter)
        entry.waiter = None

    def _await(self, entry: _Parked, waiter: Waiter) -> None:
        if not waiter.place.done():
            news = self._line.news(waiter, None)
            told = StreamParked(position=news.position, eta_s=news.eta_s)
            entry.stream.session.parked = told
            return
        entry.waiter = entry.ticket = None
        try:
            self._take(entry, waiter.place.result())
        except StreamError as error:
            self._keeper.fail(entry.stream, error.anew())

    def _take(self, entry: _Parked, place: Place) -> None:
        """Go on at this place, at once or when its parts are in memory."""
        assert entry.past is not None, "it is parked"
        if entry.stream.parked == "memory":
            self._go_on(entry, entry.past)
            self._places.release(place)
            return
        entry.phase = "fetching"
        entry.work = asyncio.create_task(self._fetch(entry, place, entry.past), name="unpark")

    async def _fetch(self, entry: _Parked, place: Place, past: Past) -> None:
        try:
            past = await asyncio.to_thread(to_memory, past)
            self._go_on(entry, past)
        except OSError as error:
            self._log.error("cannot read a parked stream", reason=str(error))
            self._keeper.fail(entry.stream, EngineFailed("what was saved of the stream is lost"))
        finally:
            self._places.release(place)
            self._wake()

    def _go_on(self, entry: _Parked, past: Past) -> None:
        stream = entry.stream
        del self._streams[stream.session_id]
        self.lot.free(stream.session_id)
        self._hosted[stream.model].host.adopt(stream.session_id, past)
        if stream.parked is not None:
            # what is late now was not made late
            stream.returns = True
            stream.change_quality(self._hosted[stream.model].quality)
            self._log.info("session comes back", session_id=stream.session_id, where=stream.parked)
        if entry.wanted_s is not None:
            self._metrics.return_s.observe(self._now_s() - entry.wanted_s)
        stream.parked = stream.session.parked = None
        stream.session.held = False
        self._wake()
