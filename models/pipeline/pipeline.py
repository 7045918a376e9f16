"""The pipeline executor: a model in processes of its own, one or several.

Several stages share the calls of a chunk, each with the caches of its own (timestep-forcing
pipeline parallelism, Live Avatar, arXiv 2512.04677); they are paced at the input. Lost processes
are started again and every stream goes on where it was. Free of torch: whoever drives it has no
model in its process. One thread calls it.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Collection, Sequence
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, Literal

from ..contract import Controls, ModelInfo, StreamRequest
from ..warm_up import every_control, first_request
from .admission import Admission
from .backoff import Backoff
from .events import (
    Dropped,
    Event,
    Finished,
    Lost,
    MeasuredAlone,
    Parked,
    Restarted,
    Restarting,
    Saved,
    busy_by_stage,
)
from .executor import make_chunk, make_rest
from .idle_measure import IdleMeasure
from .launchers import Launcher, LocalLauncher
from .made_frames import unpacked
from .messages import (
    Assign,
    Assigned,
    Batch,
    Close,
    Done,
    Drop,
    FromStage,
    Measured,
    ModelSpec,
    Open,
    Ready,
    Refused,
    Restore,
    RestoredStream,
    Save,
    SavedStream,
    Settled,
    SnapshotPart,
    Step,
)
from .past import Past
from .replay_log import SNAPSHOT_CHUNKS, SNAPSHOT_SHARE, ReplayLog
from .small_series import SmallSeries
from .stage_plan import Costs, StagePlan, check_plan, choose_plan
from .stage_pool import Loss, Patience, StagePool
from .turn_queue import Queued, TurnQueue

if TYPE_CHECKING:
    from .secure_channel import Listener

SMALL_CHUNKS = 4
"""Between two small snapshots for others: a second of most models is lost with a machine at most,
and made again."""
REBUILT_CHUNKS = 2
"""The same, at most, where chunks rebuild the caches: such a snapshot is kilobytes, and each chunk
more is one more that viewers wait for."""
MOST_EXACT_BYTES = 4 << 30
"""A stream's caches up to this size are saved whole: three times as much memory of the host."""
MOST_TOLD_BYTES = 4 << 20
"""Of a stream whose caches have this size at most others are told whole snapshots."""
WHOLE_CHUNKS = 8
"""Between two of them, at most: then fewer chunks are made again than would rebuild caches, and a
gateway of a fleet reads no more than 3 MB a second of each stream."""
_POLL_S = 0.1
_WARM_UP = "warm-up"
# So often the model may raise an exception at one chunk of a stream, which is then given up; and so
# often a process may be lost there without a word, for which there may be other reasons.
_FAILURES = 2
_DEATHS = 3
# So often a start is followed by a measurement at leisure: what breaks in it would go on breaking.
_MEASURES = 3

_Phase = Literal["stopped", "pausing", "starting", "running", "lost"]
"""Pausing before a start; lost: told, and what is left of the stages is still to be ended."""


class PipelineFailed(Exception):
    """The model cannot be made, or its processes did not come up the first time."""


class Pipeline:
    """An `Executor` over `stages` processes; `plan` None: the best for what the model measures.

    `launchers` None: all on this machine, else the others come to `listener`. How often a stream is
    saved, `snapshot_share` and `snapshot_chunks`, is `ReplayLog`'s. If its caches have more than
    `most_exact_bytes` it is only saved small. How long batches take is measured when the model was
    not used for `probe_after_s`, and now and then again (`IdleMeasure`), 0: at the start, and no
    more; None: never. With `tells_snapshots` small snapshots, one every `small_chunks`, are told as
    `Saved`, or whole ones of a stream whose caches have `most_told_bytes` at most. With
    `ready_soon` a model that is soon warm is measured only when it is ready and no stream is open,
    which `MeasuredAlone` then tells.
    """

    parks = True

    def __init__(
        self,
        model: ModelSpec,
        stages: int = 1,
        *,
        plan: StagePlan | None = None,
        launchers: Sequence[Launcher] | None = None,
        listener: Listener | None = None,
        patience: Patience | None = None,
        backoff: Backoff | None = None,
        snapshot_share: float = SNAPSHOT_SHARE,
        snapshot_chunks: int = SNAPSHOT_CHUNKS,
        probe_after_s: float | None = None,
        tells_snapshots: bool = False,
        small_chunks: int = SMALL_CHUNKS,
        most_exact_bytes: int = MOST_EXACT_BYTES,
        most_told_bytes: int = MOST_TOLD_BYTES,
        ready_soon: bool = False,
    ) -> None:
        where = launchers or [LocalLauncher(preload=model.preload) for _ in range(stages)]
        self._new_pool = lambda: StagePool(
            where, model, listener, patience or Patience(), self.start_s if self._has_run else None
        )
        self._backoff = backoff or Backoff()
        self._snapshots = snapshot_share, snapshot_chunks
        self._tells_snapshots = tells_snapshots
        self._small_chunks = small_chunks
        self._most_exact_bytes, self._most_told_bytes = most_exact_bytes, most_told_bytes
        self._tells_whole = False
        self._ready_soon = ready_soon
        self._exact, self._rebuild_chunks = True, 0
        self._started, self._has_run = False, False
        self._interrupted = threading.Event()
        self._stages, self._fixed_plan = stages, plan
        self.start_s = 10.0
        """How long the stages took to start the last time; a guess before the first time."""
        self._pool = self._new_pool()
        self._logs: dict[str, ReplayLog] = {}
        self._lives = itertools.count()
        self._plan_numbers = itertools.count(1)
        self._known: set[str] = set()
        """The streams that the stages have, by their keys."""
        self._queue = TurnQueue(stages)
        self._batches = itertools.count(1)
        self._adopting: dict[str, tuple[set[int], list[Queued]]] = {}
        """Streams that stages take over: which of them have not yet, and what then follows."""
        self._parking: dict[str, set[int]] = {}
        """Streams that stages save before they are let go of: which of them have not yet."""
        self._runs_ahead = False
        self._events: list[Event] = []
        self._waiting_for: set[int | str] = set()
        self._phase: _Phase = "stopped"
        self._launched_s: float | None = None
        """When the stages that start now were launched."""
        self._launch_at_s, self._failed_starts = 0.0, 0
        self._lost_s: float | None = None
        self._info: ModelInfo | None = None
        self._cuts: tuple[int, ...] = ()
        self._measure = None if probe_after_s is None else IdleMeasure(self, probe_after_s)
        self.most_rows = 1
        """Chunks of so many streams may be one batch."""
        self.costs: Costs | None = None
        self.measured = True
        """False: `costs` are those of one chunk, and others are on their way."""
        self.plan: StagePlan | None = plan
        self.restarts = 0

    # Life.

    def start(self) -> None:
        """Start the stages and return when they are ready. Raises PipelineFailed."""
        try:
            self._launch()
            while not self.running:
                self._advance(_POLL_S)
            if self._stages > 1:
                # the stages behind the first one have not seen a chunk yet
                self._warm_up()
            if self._measure is not None and self._measure.after_s == 0:
                self._measure_batches(self._measure)
            self._started = True
        except BaseException:
            self.stop()
            raise

    def interrupt(self) -> None:
        """Let `start` raise PipelineFailed instead of going on; for any thread."""
        self._interrupted.set()

    def stop(self) -> None:
        """End the stages; nothing happens from here on."""
        self._phase = "stopped"
        self._pool.stop()

    @property
    def running(self) -> bool:
        """Whether the stages are up and have all streams."""
        return self._phase == "running"

    @property
    def admission(self) -> Admission:
        """The pace at which chunks are let in."""
        return self._queue.admission

    @property
    def period_s(self) -> float:
        """Seconds of the slowest stage's work on a chunk, lately."""
        return self.admission.period_s

    @property
    def depth(self) -> int:
        """A chunk on each stage, and one on its way in; a single stage has one at a time.

        On a GPU it has two: one whose frames are on their way, and the next one.
        """
        return self.admission.most_turns if self._stages == 1 else self._stages + 1

    @property
    def waiting(self) -> int:
        """Chunks that the pace does not let in yet."""
        return len(self._queue) + sum(len(then) for _, then in self._adopting.values())

    @property
    def streams(self) -> Collection[str]:
        """The streams that are open."""
        return self._logs.keys()

    @property
    def is_idle(self) -> bool:
        """Whether no chunk waits or is under way."""
        return self._queue.is_empty

    def next_s(self, now_s: float, under_way: int) -> float | None:
        """When the pace lets one more chunk in; None while the stages are not there."""
        return self._queue.next_s(now_s, under_way) if self.running else None

    @property
    def info(self) -> ModelInfo:
        """What the model makes; known after `start`."""
        assert self._info is not None, "start comes first"
        return self._info

    @property
    def pids(self) -> tuple[int, ...]:
        """The stages' processes by rank."""
        return self._pool.pids

    def assign(self, plan: StagePlan) -> None:
        """Share the work out anew, between streams: it forgets all of them.

        Raises ValueError for a plan that the model or the number of processes does not allow.
        """
        assert not self._logs, "close the streams first"
        assert self.costs is not None, "start comes first"
        check_plan(plan, self._stages, self.costs, self._cuts)
        while not self.running:
            # stages that are started again get the old plan first
            self._advance(_POLL_S)
        self._fixed_plan = plan
        self._phase = "starting"
        self._send_plan(plan)
        while not self.running:
            self._advance(_POLL_S)

    # Streams.

    def open(self, stream: str, request: StreamRequest) -> None:
        """Begin a stream; what the model's `start` refuses is told as `Lost`."""
        key = f"{stream}.{next(self._lives)}"
        self._logs[stream] = self._log_of(Open(key, request))
        self._tell()

    def adopt(self, stream: str, past: Past) -> None:
        """Go on with a stream that another executor began."""
        key = f"{stream}.{next(self._lives)}"
        log = self._logs[stream] = self._log_of(Open(key, past.request))
        log.go_on(past)
        if not self.running or self.plan is None:
            return  # it is given to the stages with all others, once they are there
        self._known.add(key)
        start, replay = log.begin_again()
        self._adopting[stream] = set(), [Queued(stream, *each) for each in replay]
        if isinstance(start, Restore):
            for rank in range(self.plan.stages):
                self._pool.send(rank, start)
                self._adopting[stream][0].add(rank)
        else:
            self._pool.send(0, start)
        self._hide_shown(log)
        self._adopted(stream)

    def submit(self, stream: str, controls: Controls) -> None:
        """Admit a chunk as soon as the pace allows; of a stream that is lost, none."""
        log = self._logs.get(stream)
        if log is None:
            return
        chunk = Queued(stream, log.add(controls), controls)
        if stream in self._adopting:
            self._adopting[stream][1].append(chunk)
        else:
            self._queue.extend([chunk])
        self._pump()

    def submit_together(self, chunks: Sequence[tuple[str, Controls]]) -> None:
        """Admit a chunk of each of several streams, as one batch if the model makes such."""
        batch = next(self._batches)
        for stream, controls in chunks:
            if stream in self._adopting:
                self.submit(stream, controls)
            elif stream in self._logs:
                index = self._logs[stream].add(controls)
                self._queue.extend([Queued(stream, index, controls, batch=batch)])
        self._pump()

    def drop(self, stream: str) -> None:
        """Barge-in: chunks of `stream` that are under way are not shown.

        They pass all remaining steps, so that every cache has the same past, and a decoder that
        needs what went before decodes them; `Dropped` tells of each. This costs no time: a chunk
        admitted now comes no earlier if others are torn out.
        """
        log = self._logs.get(stream)
        if log is None or log.next_index == log.delivered + 1:
            return
        if self.running and self.plan is not None:
            self._pool.send(self.plan.decoder, Drop(log.key, log.next_index))
        log.shown_from = log.next_index

    def park(self, stream: str) -> None:
        """Save a stream of which no chunk is under way, and free it; told as `Parked`.

        Whole, if streams of the model are saved so; else it goes on from its latest snapshot.
        """
        log = self._logs.get(stream)
        if log is None:
            return
        last = log.next_index - 1
        assert log.delivered == last, "a chunk of it is under way"
        saved = not self._exact or log.settled == last or last < 0
        if saved or not self.running or self.plan is None or stream in self._adopting:
            self._let_go_of(stream)
            return
        self._parking[stream] = set(range(self.plan.stages))
        for rank in range(self.plan.stages):
            self._pool.send(rank, Save(log.key, last))

    def close(self, stream: str) -> None:
        """Free a stream on all stages."""
        if self._logs.pop(stream, None) is None:
            return
        self._adopting.pop(stream, None)
        self._parking.pop(stream, None)
        self._queue.forget(stream)
        self._tell()

    def poll(self, timeout_s: float, others: Sequence[Any] = ()) -> list[Event]:
        """What happened; waits up to `timeout_s`, or until any of `others` is readable.

        To be called all the time, for it is what notices a lost stage.
        """
        if not self._events:
            self._advance(timeout_s, others)
        events, self._events = self._events, []
        return events if self._measure is None else self._measure.told(events)

    def finish(self) -> list[Event]:
        """Wait for the chunks under way, however often the stages are started again."""
        done, self._events = self._events, []
        while not self.is_idle or self.waiting:
            done += self.poll(self._pause_s())
        return done

    # Private.

    def _measure_batches(self, measure: IdleMeasure) -> None:
        """All that are worth it, before anybody is served."""
        told: list[Event] = []
        while self.most_rows > 1 and not measure.over:
            told += self.poll(_POLL_S)
        self._events = told

    def _warm_up(self) -> None:
        """Every kind of control, through all stages."""
        self.open(_WARM_UP, first_request(self.info))
        try:
            for controls in every_control(self.info):
                make_chunk(self, _WARM_UP, controls)
            make_rest(self)
        except ValueError as error:
            raise PipelineFailed(f"the model fails in its warm-up: {error}") from error
        self.close(_WARM_UP)

    def _pause_s(self) -> float:
        """How long nothing can be admitted, at most."""
        now_s = time.monotonic()
        next_s = self._queue.next_s(now_s)
        return _POLL_S if next_s is None else min(_POLL_S, max(0.0, next_s - now_s))

    def _advance(self, timeout_s: float, others: Sequence[Any] = ()) -> None:
        if self._interrupted.is_set() and not self._started:
            raise PipelineFailed("it was stopped while it started")
        if self._phase == "stopped":
            wait(list(others), timeout_s)
            return
        if self._phase == "pausing":
            self._wait_for_launch(timeout_s, others)
            return
        for rank, message in self._pool.receive(timeout_s, others):
            self._handle(rank, message)
        loss = self._pool.lost()
        if loss is not None and self.running:
            # Told at once: to end what is left of the stages takes a while.
            self._lose(loss)
        elif loss is not None:
            self._recover(loss)
        self._pump()

    def _launch(self) -> None:
        self._pool = self._new_pool()
        self._waiting_for = set(range(self._stages))
        self._launched_s = time.monotonic()
        self._phase = "starting"
        try:
            self._pool.start(self.costs, soon=self._is_to_measure)
        except OSError as error:
            self._recover(Loss("failed", f"the stages cannot be started: {error}"))

    @property
    def _is_to_measure(self) -> bool:
        """Whether the model has yet to be measured, and that is done behind the start."""
        done = self.costs is not None and self.measured
        return self._ready_soon and not done and self.restarts < _MEASURES

    def _wait_for_launch(self, timeout_s: float, others: Sequence[Any]) -> None:
        """Between a failed start and the next one."""
        pause_s = self._launch_at_s - time.monotonic()
        if pause_s <= 0:
            self._launch()
        else:
            wait(list(others), min(timeout_s, pause_s))

    def _let_go_of(self, stream: str) -> None:
        """Close a stream and tell what it has behind it."""
        past = self._logs[stream].past
        self.close(stream)
        self._events.append(Parked(stream, past))

    def _lose(self, loss: Loss) -> None:
        self._phase = "lost"
        for stream in list(self._parking):
            # as it was saved before
            self._let_go_of(stream)
        self._lost_s = time.monotonic()
        self.restarts += 1
        self._blame(loss)
        self._events.append(Restarting(loss.cause, loss.detail, self.start_s))

    def _blame(self, loss: Loss) -> None:
        """Note at whose chunk the stage was, and give a stream up that is at fault too often.

        It would break the stages again and again, for all others too.
        """
        name = self._named(loss.stream)
        if name is None:
            return
        limit = _DEATHS if loss.broken is None else _FAILURES
        if self._logs[name].failed(loss.index) >= limit:
            self.close(name)
            self._events.append(Lost(name, loss.detail, refused=False))

    def _recover(self, loss: Loss) -> None:
        """The stages are not up, and one of them is lost: end the others and try again."""
        if self._phase == "starting":
            if not self._has_run:
                raise PipelineFailed(_told(loss))
            self._failed_starts += 1
            self._lost_s = self._lost_s or time.monotonic()
            # at fault may be a stream whose restored state breaks the stages
            self._blame(loss)
            estimate_s = self.start_s + self._pause()
            self._events.append(Restarting(loss.cause, loss.detail, estimate_s))
        self._pool.stop()
        self._phase = "pausing"
        self._launch_at_s = time.monotonic() + self._pause()

    def _pause(self) -> float:
        return self._backoff.pause_s(self._failed_starts)

    def _tell(self) -> None:
        """Open and close on the stages what was opened and closed here."""
        if not self.running:
            return
        opened = {log.key: log.opened for log in self._logs.values()}
        for key in self._known - opened.keys():
            self._pool.send(0, Close(key))
        for key, message in opened.items():
            if key not in self._known:
                self._pool.send(0, message)
        self._known = set(opened)

    def _named(self, key: str | None) -> str | None:
        """Whose key this is; None if that stream is closed."""
        names = (name for name, log in self._logs.items() if log.key == key)
        return next(names, None)

    def _handle(self, rank: int, message: FromStage) -> None:
        name = self._named(getattr(message, "stream", None))
        match message:
            case Ready():
                self._ready(rank, message)
            case Measured():
                self._found(message.costs)
            case Assigned():
                self._answered(rank)
            case RestoredStream() if name in self._adopting:
                self._adopting[name][0].discard(rank)
                self._adopted(name)
            case SavedStream() if name in self._parking:
                self._parking[name].discard(rank)
                if not self._parking[name]:
                    self._let_go_of(name)
            case RestoredStream():
                self._answered(f"{rank}/{message.stream}")
            case Done():
                self._done(rank, name, message)
            case SnapshotPart() if name is not None:
                self._take_part(rank, self._logs[name], message)
            case Refused() if name is not None:
                self.close(name)
                self._events.append(Lost(name, message.reason))
            case _:
                pass

    def _take_part(self, rank: int, log: ReplayLog, message: SnapshotPart) -> None:
        """Of a stage that is gone, or has none there, the latest snapshot before stays."""
        parts = self._pool.parts(rank, message)
        if parts is not None and message.small:
            log.take_small(message.index, parts, message.count)
            self._tell_saved(log)
        elif parts is not None and self.costs is not None:
            took_chunks = message.took_s / max(self.costs.total_s, 1e-3)
            before = log.settled
            log.take_part(message.index, parts, message.count, took_chunks)
            self._tell_settled(log, before)
            self._tell_saved(log)

    def _tell_settled(self, log: ReplayLog, before: int | None) -> None:
        """Let the stages write over what was shared for snapshots before the newest whole one."""
        if log.settled is not None and log.settled != before and self.plan is not None:
            for rank in range(self.plan.stages):
                self._pool.send(rank, Settled(log.key, log.settled))

    def _tell_saved(self, log: ReplayLog) -> None:
        saved, name = log.newly_saved(), self._named(log.key)
        if saved is not None and name is not None and self._tells_snapshots:
            self._events.append(Saved(name, *saved, small=not log.tells_whole))

    def _adopted(self, stream: str) -> None:
        """Go on with a stream that was taken over, once all stages have it."""
        waiting, follows = self._adopting[stream]
        if not waiting:
            del self._adopting[stream]
            self._queue.extend(follows)
            self._pump()

    def _ready(self, rank: int, message: Ready) -> None:
        if message.info is not None and message.costs is not None:
            self._info, self.costs, self._cuts = message.info, message.costs, message.cuts
            self.most_rows = message.most_rows
            costs, self.measured = message.costs, message.measured
            self._rebuild_chunks = message.rebuild_chunks
            self._runs_ahead = message.runs_ahead
            if message.cache_bytes:
                self._exact = message.cache_bytes <= self._most_exact_bytes
                told_whole = min(self._most_exact_bytes, self._most_told_bytes)
                self._tells_whole = message.cache_bytes <= told_whole
            self._pool.longest_part_s = max(costs.prepare_s, costs.decode_s, *costs.step_s)
        self._waiting_for.discard(rank)
        if not self._waiting_for and self.costs is not None:
            try:
                plan = self._fixed_plan or choose_plan(self._stages, self.costs, self._cuts)
                check_plan(plan, self._stages, self.costs, self._cuts)
            except ValueError as error:
                raise PipelineFailed(str(error)) from error
            self._send_plan(plan)

    def _found(self, costs: Costs) -> None:
        """The stage had leisure to measure the model."""
        assert self.plan is not None, "it had a plan"
        self.costs, self.measured = costs, True
        period_s = self.plan.bottleneck_s(costs)
        self._queue.admission.measured(period_s, costs.total_s)
        self._pool.worked(max(costs.prepare_s, costs.decode_s, *costs.step_s))
        self._events.append(MeasuredAlone(period_s))

    def _send_plan(self, plan: StagePlan) -> None:
        assert self.costs is not None, "stage 0 measured them"
        self.plan = plan
        self._queue.admission = Admission(
            plan.stages, plan.bottleneck_s(self.costs), self.costs.total_s, ahead=self._runs_ahead
        )
        self._waiting_for = set(range(self._stages))
        # one more than can be under way: a chunk is read before another one is admitted
        most = self.depth if self._stages > 1 else self.depth * self.most_rows
        slots = 0 if self._pool.arena is None else most + 1
        if self._pool.arena is not None:
            info = self.info
            frames = max(info.chunk_frames, info.first_chunk_frames or 0)
            self._pool.arena.resize(slots, frames * info.width * info.height * 3)
        message = Assign(plan, next(self._plan_numbers), slots)
        for rank in range(self._stages):
            self._pool.send(rank, message)

    def _log_of(self, opened: Open) -> ReplayLog:
        """Of a new stream, saved as this model's are."""
        whole = self._tells_snapshots and self._tells_whole
        told = self._small_chunks if self._tells_snapshots and not whole else 0
        if self._rebuild_chunks:
            told = min(told, REBUILT_CHUNKS)
        every = told or (0 if self._exact else self._snapshots[1])
        small = SmallSeries(every, self._rebuild_chunks)
        share, chunks = self._snapshots
        chunks = min(chunks, WHOLE_CHUNKS) if whole else chunks
        return ReplayLog(opened, share, chunks, exact=self._exact, tells_whole=whole, small=small)

    def _hide_shown(self, log: ReplayLog) -> None:
        """What came out before is made again for the caches alone, mostly without the decoder."""
        below = max(log.shown_from, log.delivered + 1)
        if below and self.plan is not None:
            self._pool.send(self.plan.decoder, Drop(log.key, below))

    def _answered(self, what: int | str) -> None:
        if what not in self._waiting_for:
            return
        self._waiting_for.remove(what)
        was_assigning = isinstance(what, int)
        if self._waiting_for or (was_assigning and self._restore()):
            return
        self._resume()

    def _restore(self) -> bool:
        """Give the streams to fresh stages; whether there is an answer to wait for."""
        assert self.plan is not None, "the plan was assigned"
        self._queue.clear()
        self._adopting.clear()
        replays: list[list[Queued]] = []
        for stream, log in self._logs.items():
            start, replay = log.begin_again()
            if isinstance(start, Restore):
                for rank in range(self.plan.stages):
                    self._pool.send(rank, start)
                    self._waiting_for.add(f"{rank}/{log.key}")
            else:
                self._pool.send(0, start)
            self._hide_shown(log)
            replays.append([Queued(stream, *each) for each in replay])
        self._known = {log.key for log in self._logs.values()}
        # in turns, so that no stream waits for all of another one's past
        rows = itertools.zip_longest(*replays)
        self._queue.extend(each for row in rows for each in row if each is not None)
        return bool(self._waiting_for)

    def _resume(self) -> None:
        self._phase, self._has_run, self._failed_starts = "running", True, 0
        self._tell()
        if self._launched_s is not None:
            self.start_s = time.monotonic() - self._launched_s
            self._launched_s = None
        if self._lost_s is not None:
            exact = all(log.goes_on_exactly for log in self._logs.values())
            self._events.append(Restarted(time.monotonic() - self._lost_s, exact))
            self._lost_s = None

    def _pump(self) -> None:
        """Admit what is queued, at the pace of the slowest stage."""
        while self.running and (turn := self._queue.take(time.monotonic())):
            steps = tuple(map(self._step_of, turn))
            self._pool.send(0, steps[0] if len(steps) == 1 else Batch(steps))

    def _step_of(self, queued: Queued) -> Step:
        log, index = self._logs[queued.stream], queued.index
        snapshot, small = log.wants_snapshot(index), log.wants_small(index)
        return Step(log.key, queued.controls, snapshot, queued.rows, small)

    def _done(self, rank: int, name: str | None, message: Done) -> None:
        if self._phase == "starting":
            # of a stage that did not know the newer plan yet
            return
        try:
            made = message.chunk
            chunk = None if made is None else unpacked(made, self.info, self._pool.arena)
        except ValueError as error:
            self._pool.give_up(rank, Loss("failed", f"stage {rank} sent nonsense: {error}"))
            return
        begin_s = None if name is None else self._queue.left(name, message.index, time.monotonic())
        if name is None or begin_s is None:
            return
        log = self._logs[name]
        self._pool.worked(max((span.end_s - span.begin_s for span in message.spans), default=0.0))
        if chunk is not None and message.spans and message.rows == 1:
            self.admission.observed(busy_by_stage(message.spans))
        before = log.settled
        is_new = log.deliver(message.index, message.rows)
        self._tell_settled(log, before)
        self._tell_saved(log)
        if not is_new:
            return
        if chunk is None or message.index < log.shown_from:
            self._events.append(Dropped(name, message.index, message.rows))
            return
        latency_s = time.monotonic() - begin_s
        self._events.append(Finished(name, chunk, latency_s, message.spans, message.rows))


def _told(loss: Loss) -> str:
    """What a stage said of its failure, with its traceback; else how its loss was noticed."""
    return loss.detail if loss.broken is None else f"{loss.broken.reason}\n{loss.broken.detail}"
