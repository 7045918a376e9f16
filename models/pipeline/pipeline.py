"""The pipeline executor: stages as processes, each with its denoising steps and their caches.

Timestep-forcing pipeline parallelism (Live Avatar, arXiv 2512.04677), with any number of stages
and sessions, paced at its input, and started again when a stage is lost. Free of torch: whoever
drives it has no model in its process. One thread calls it.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from ..contract import Controls, ModelInfo
from .admission import Admission
from .events import (
    Dropped,
    Event,
    Finished,
    Lost,
    Restarted,
    Restarting,
    busy_by_stage,
)
from .launchers import Launcher, LocalLauncher
from .messages import (
    Assign,
    Assigned,
    Broken,
    Close,
    Done,
    Drop,
    FromStage,
    Load,
    Loaded,
    ModelSpec,
    Open,
    Part,
    Ready,
    Refused,
    Step,
)
from .replay_log import ReplayLog
from .stage_plan import Costs, StagePlan, choose_plan
from .stage_pool import StagePool

_POLL_S = 0.1
_TRIES = 3
_FAILURES = 2
"""So often a stream may break a stage at the same chunk; then it is given up."""


class PipelineFailed(Exception):
    """The stages could not be started, several times in a row."""


class Pipeline:
    """An `Executor` over `stages` processes; `plan` None: the best for what the model measures.

    `launchers` None: all on this machine, else `host` is its name for the others.
    """

    def __init__(
        self,
        model: ModelSpec,
        stages: int,
        *,
        plan: StagePlan | None = None,
        launchers: Sequence[Launcher] | None = None,
        host: str | None = None,
    ) -> None:
        where = [LocalLauncher() for _ in range(stages)] if launchers is None else launchers
        self._new_pool = lambda: StagePool(where, model, host)
        self._stages = stages
        self._fixed_plan = plan
        self._pool = self._new_pool()
        self._logs: dict[str, ReplayLog] = {}
        self._lives = itertools.count()
        self._eras = itertools.count(1)
        self._known: set[str] = set()
        """The streams that the stages have, by their keys."""
        self._queue: deque[tuple[str, int, Controls]] = deque()
        self._under_way: dict[tuple[str, int], float] = {}
        self._events: list[Event] = []
        self._waiting_for: set[int | str] = set()
        self._running = False
        self._started_s = 0.0
        self._lost_s: float | None = None
        self._tries = 0
        self._info: ModelInfo | None = None
        self.costs: Costs | None = None
        self.plan: StagePlan | None = plan
        self.admission = Admission(stages)
        self.restarts = 0
        self.start_s = 10.0
        """How long the stages took to start the last time; a guess before the first time."""

    # Life.

    def start(self) -> None:
        """Start the stages and return when they are ready. Raises PipelineFailed."""
        self._launch()
        while not self._running:
            self._turn(_POLL_S)

    def stop(self) -> None:
        """End the stages."""
        self._running = False
        self._pool.stop()

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
        """Share the work out anew, between streams: it forgets all of them."""
        assert not self._logs, "close the streams first"
        assert self.costs is not None, "start comes first"
        while not self._running:
            # stages that are started again get the old plan first
            self._turn(_POLL_S)
        self._fixed_plan = plan
        self._running = False
        self._send_plan(plan)
        while not self._running:
            self._turn(_POLL_S)

    # Streams.

    def open(
        self,
        stream: str,
        *,
        seed: int,
        scene: str | None = None,
        prompt: str | None = None,
        picture: bytes | None = None,
    ) -> None:
        """Begin a stream; what the model's `start` refuses comes back as `Lost`."""
        key = f"{stream}.{next(self._lives)}"
        self._logs[stream] = ReplayLog(Open(key, seed, scene, prompt, picture))
        self._tell()

    def submit(self, stream: str, controls: Controls) -> None:
        """Admit a chunk as soon as the pace allows."""
        self._queue.append((stream, self._logs[stream].add(controls), controls))
        self._pump()

    def drop(self, stream: str) -> None:
        """Barge-in: chunks of `stream` that are under way are not shown, and not decoded.

        They pass all remaining steps, so that every cache has the same past; `Dropped` tells of
        each. This costs no time: a chunk admitted now comes no earlier if others are torn out.
        """
        log = self._logs[stream]
        if self._running and self.plan is not None:
            self._pool.send(self.plan.decoder, Drop(log.key, log.next_index))
        log.shown_from = log.next_index

    def close(self, stream: str) -> None:
        """Free a stream on all stages."""
        if self._logs.pop(stream, None) is None:
            return
        self._queue = deque(each for each in self._queue if each[0] != stream)
        self._under_way = {k: v for k, v in self._under_way.items() if k[0] != stream}
        self._tell()

    def poll(self, timeout_s: float, others: Sequence[Any] = ()) -> list[Event]:
        """What happened; waits up to `timeout_s`, or until any of `others` is readable.

        To be called all the time, for it is what notices a lost stage. Raises PipelineFailed.
        """
        if not self._events:
            self._turn(timeout_s, others)
        events, self._events = self._events, []
        return events

    # As an `Executor`.

    def step(self, stream: str, controls: Controls) -> list[Finished]:
        """Admit a chunk; the chunks that are ready. Waits while the pipeline is full."""
        self.submit(stream, controls)
        done = self._finished(self.poll(0.0))
        while self._queue:
            done += self._finished(self.poll(self._pause_s()))
        return done

    def finish(self) -> list[Finished]:
        """Wait for the chunks under way."""
        done = self._finished(self._events)
        self._events = []
        while self._under_way or self._queue:
            done += self._finished(self.poll(self._pause_s()))
        return done

    # Private.

    def _finished(self, events: list[Event]) -> list[Finished]:
        for event in events:
            if isinstance(event, Lost):
                raise ValueError(event.reason)
        return [event for event in events if isinstance(event, Finished)]

    def _pause_s(self) -> float:
        """How long nothing can be admitted, at most."""
        now_s = time.monotonic()
        next_s = self.admission.next_s(now_s, len(self._under_way))
        return _POLL_S if next_s is None else min(_POLL_S, max(0.0, next_s - now_s))

    def _turn(self, timeout_s: float, others: Sequence[Any] = ()) -> None:
        for rank, message in self._pool.receive(timeout_s, others):
            self._handle(rank, message)
        reason = self._pool.lost()
        if reason is not None and self._running:
            # Told at once: to end what is left of the stages takes a while.
            self._lose(reason)
        elif reason is not None:
            self._recover(reason)
        self._pump()

    def _launch(self) -> None:
        self._pool = self._new_pool()
        self._waiting_for = set(range(self._stages))
        self._started_s = time.monotonic()
        self._pool.start()

    def _lose(self, reason: str) -> None:
        self._running = False
        self._lost_s = time.monotonic()
        self.restarts += 1
        self._tries = 0
        self._events.append(Restarting(reason, self.start_s))

    def _recover(self, reason: str) -> None:
        self._pool.stop()
        self._tries += 1
        if self._tries > _TRIES:
            raise PipelineFailed(f"{reason}; gave up after {_TRIES} tries")
        self._launch()

    def _tell(self) -> None:
        """Open and close on the stages what was opened and closed here."""
        if not self._running:
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
            case Assigned():
                self._answered(rank)
            case Loaded():
                self._answered(f"{rank}/{message.stream}")
            case Done():
                self._done(name, message)
            case Part() if name is not None and self.costs is not None:
                steps = len(self.costs.step_s)
                self._logs[name].take_part(message.index, message.parts, steps)
            case Refused() if name is not None:
                self.close(name)
                self._events.append(Lost(name, message.reason))
            case Broken() if self._tries >= _TRIES or self._info is None:
                raise PipelineFailed(f"stage {rank}: {message.reason}\n{message.detail}")
            case Broken() if name is not None:
                self._logs[name].failures.append(message.reason)
            case _:
                pass

    def _ready(self, rank: int, message: Ready) -> None:
        if message.info is not None and message.costs is not None:
            self._info, self.costs = message.info, message.costs
            costs = message.costs
            self._pool.longest_part_s = max(costs.prepare_s, costs.decode_s, *costs.step_s)
        self._waiting_for.discard(rank)
        if not self._waiting_for and self.costs is not None:
            self._send_plan(self._fixed_plan or choose_plan(self._stages, self.costs))

    def _send_plan(self, plan: StagePlan) -> None:
        assert self.costs is not None, "stage 0 measured them"
        self.plan = plan
        self.admission = Admission(plan.stages, plan.bottleneck_s(self.costs), self.costs.total_s)
        self._waiting_for = set(range(self._stages))
        message = Assign(plan, next(self._eras))
        for rank in range(self._stages):
            self._pool.send(rank, message)

    def _answered(self, what: int | str) -> None:
        was_assigning = isinstance(what, int)
        self._waiting_for.discard(what)
        if self._waiting_for:
            return
        if was_assigning and self._restore():
            return
        self._resume()

    def _restore(self) -> bool:
        """Give the streams to fresh stages; whether there is an answer to wait for."""
        assert self.plan is not None, "the plan was assigned"
        self._queue.clear()
        self._under_way.clear()
        replays: list[list[tuple[str, int, Controls]]] = []
        for stream, log in list(self._logs.items()):
            if len(log.failures) >= _FAILURES:
                # or it would break the stages again and again, for all others too
                del self._logs[stream]
                self._events.append(Lost(stream, log.failures[-1]))
                continue
            start, replay = log.begin_again()
            if isinstance(start, Load):
                for rank in range(self.plan.stages):
                    self._pool.send(rank, start)
                    self._waiting_for.add(f"{rank}/{log.key}")
            else:
                self._pool.send(0, start)
            replays.append([(stream, index, controls) for index, controls in replay])
        self._known = {log.key for log in self._logs.values()}
        # in turns, so that no stream waits for all of another one's past
        rows = itertools.zip_longest(*replays)
        self._queue.extend(each for row in rows for each in row if each is not None)
        return bool(self._waiting_for)

    def _resume(self) -> None:
        self._running = True
        self._tell()
        self._tries = 0
        self.start_s = time.monotonic() - self._started_s
        if self._lost_s is not None:
            self._events.append(Restarted(time.monotonic() - self._lost_s))
            self._lost_s = None

    def _pump(self) -> None:
        """Admit what is queued, at the pace of the slowest stage."""
        while self._running and self._queue:
            now_s = time.monotonic()
            next_s = self.admission.next_s(now_s, len(self._under_way))
            if next_s is None or next_s > now_s:
                return
            stream, index, controls = self._queue.popleft()
            self._under_way[stream, index] = now_s
            self.admission.admitted(now_s)
            key = self._logs[stream].key
            self._pool.send(0, Step(key, controls, ReplayLog.wants_snapshot(index)))

    def _done(self, name: str | None, message: Done) -> None:
        if name is None or self.costs is None:
            return
        begin_s = self._under_way.pop((name, message.index), None)
        if begin_s is None:
            return
        log = self._logs[name]
        self._pool.worked(max(span.end_s - span.begin_s for span in message.spans))
        if message.chunk is not None:
            self.admission.observed(busy_by_stage(message.spans))
        if not log.deliver(message.index, len(self.costs.step_s)):
            return
        if message.chunk is None or message.index < log.shown_from:
            self._events.append(Dropped(name, message.index))
            return
        latency_s = time.monotonic() - begin_s
        self._events.append(Finished(name, message.chunk, latency_s, message.spans))
