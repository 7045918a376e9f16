"""One stage of a pipeline: it does its steps of every chunk that comes by."""

from __future__ import annotations

import importlib
import itertools
import os
import queue
import statistics
import time
import traceback
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from ..contract import Controls
from ..student.kv_cache import StudentCache
from .executor import ChunkPlan, Row, StagedModel
from .heartbeat import Heartbeat
from .links import Links
from .messages import (
    Assign,
    Assigned,
    Broken,
    Close,
    Done,
    Drop,
    Load,
    Loaded,
    ModelSpec,
    Open,
    Part,
    Ready,
    Refused,
    Setup,
    Span,
    Step,
    ToStage,
)
from .snapshot_parts import (
    RETURNS,
    cache_part,
    load_cache,
    load_returns,
    returns_part,
    step_part,
)
from .stage_plan import Costs, StagePlan
from .wire import Package

_WARM_UP, _TIMED = 3, 5


@dataclass(slots=True)
class _Line:
    """What this stage keeps of a stream: caches of its steps; on stage 0 the model's state.

    `returns` are clean latents that chunks to come need, kept where the last step is. On stage 0
    `awaited` are the chunks that need some, and `waiting` what cannot be admitted before they are
    there.
    """

    state: Any = None
    caches: dict[int, StudentCache] = field(default_factory=dict)
    returns: dict[int, torch.Tensor] = field(default_factory=dict)
    next_index: int = 0
    awaited: set[int] = field(default_factory=set)
    waiting: deque[Step] = field(default_factory=deque)


class Stage:
    """The work of one rank under a plan."""

    def __init__(self, rank: int, model: StagedModel[Any], line: Heartbeat, links: Links | None):
        self._rank = rank
        self._model = model
        self._heartbeat = line
        self._links = links
        self._plan: StagePlan | None = None
        self._era = 0
        self._lines: dict[str, _Line] = {}
        self._dropped: dict[str, int] = {}
        self._kept: dict[str, dict[str, Any]] = {}
        """What the decoder keeps of each stream."""
        # Bounded by the executor: it admits few more chunks than there are stages.
        self._work: queue.SimpleQueue[ToStage | Package] = queue.SimpleQueue()
        self.working_for: str | None = None

    def receive(self, message: ToStage | Package) -> None:
        """Queue a message; called from any thread."""
        if isinstance(message, Drop):
            # at once: it is meant for what already waits in the queue
            self._dropped[message.stream] = message.below
        else:
            self._work.put(message)

    def run(self) -> None:
        """Work until the process ends."""
        while True:
            message = self._work.get()
            self.working_for = getattr(message, "stream", None)
            self._do(message)

    def _do(self, message: ToStage | Package) -> None:
        match message:
            case Package() if message.era != self._era:
                # from a stage that did not know the newer plan yet; its stream is forgotten
                pass
            case Package() if message.returns is not None:
                self._take_back(message.stream, message.returns, message.latents)
            case Package():
                self._pass(message)
            case Step():
                self._ask(message)
            case Open():
                self._open(message)
            case Close():
                self._close(message.stream)
            case Load():
                self._load(message)
            case Assign():
                self._assign(message)
            case _:
                raise AssertionError(message)

    def _assign(self, message: Assign) -> None:
        self._plan, self._era = message.plan, message.era
        self._lines.clear()
        self._dropped.clear()
        self._kept.clear()
        if self._links is not None and self._rank < message.plan.stages:
            for source in message.plan.inlets(self._rank):
                self._links.listen(source, self.receive)
        self._heartbeat.send(Assigned())

    def _open(self, message: Open) -> None:
        try:
            state = self._model.start(
                seed=message.seed,
                scene=message.scene,
                prompt=message.prompt,
                picture=message.picture,
            )
        except ValueError as error:
            self._heartbeat.send(Refused(message.stream, str(error)))
            return
        self._lines[message.stream] = self._line_of(state)

    def _line_of(self, state: Any) -> _Line:
        caches = {step: state.caches[step] for step in self._own_steps}
        state.caches = []
        return _Line(state, caches)

    @property
    def _own_steps(self) -> tuple[int, ...]:
        assert self._plan is not None, "a plan comes first"
        return self._plan.steps[self._rank] if self._rank < self._plan.stages else ()

    def _ask(self, message: Step) -> None:
        line = self._lines.get(message.stream)
        if line is not None:
            line.waiting.append(message)
            self._admit_waiting(line)

    def _admit_waiting(self, line: _Line) -> None:
        """Admit what waits, up to a chunk that needs latents which are still under way."""
        while line.waiting and line.next_index not in line.awaited:
            self._admit(line, line.waiting.popleft())

    def _take_back(self, stream: str, needed_by: int, latents: torch.Tensor | None) -> None:
        """Clean latents that the front of a chunk to come needs."""
        line = self._lines.get(stream)
        if line is not None and latents is not None:
            line.state.returns[needed_by] = latents
            line.awaited.discard(needed_by)
            self._admit_waiting(line)

    def _admit(self, line: _Line, message: Step) -> None:
        begin_s = time.monotonic()
        try:
            with self._heartbeat.busy():
                plan = self._model.prepare(line.state, message.controls)
                plan.check(self._model.steps)
        except ValueError as error:
            self._heartbeat.send(Refused(message.stream, str(error)))
            return
        line.next_index = plan.index + 1
        if plan.needed_by is not None:
            line.awaited.add(plan.needed_by)
        if message.snapshot:
            parts = {"prepare": self._model.snapshot(line.state)}
            self._heartbeat.send(Part(message.stream, plan.index, parts))
        span = Span(self._rank, "prepare", begin_s, time.monotonic())
        self._pass(Package(message.stream, plan, snapshot=message.snapshot, spans=(span,)))

    def _pass(self, package: Package) -> None:
        """Do this stage's part of a chunk and hand it on."""
        assert self._plan is not None, "a plan comes first"
        plan = package.plan
        if plan is None:
            self._close(package.stream)
            return
        clean = package.steps_done == self._model.steps
        if not clean:
            package = self._denoise(package, plan)
        to = None if clean else self._plan.outlet(self._rank)
        if to is None:
            self._decode(package, plan)
        else:
            self._send(to, package)

    def _denoise(self, package: Package, plan: ChunkPlan) -> Package:
        line = self._lines.setdefault(package.stream, _Line())
        latents, spans = package.latents, list(package.spans)
        for step in self._own_steps:
            if step not in line.caches:
                line.caches[step] = self._model.new_cache()
            begin_s = time.monotonic()
            with self._heartbeat.busy():
                (latents,) = self._model.denoise([Row(plan, step, latents, line.caches[step])])
            spans.append(Span(self._rank, f"step {step}", begin_s, time.monotonic()))
        done = package.steps_done + len(self._own_steps)
        if done == self._model.steps:
            self._keep_returns(package.stream, line, plan, latents)
        if package.snapshot:
            parts = {step_part(step): cache_part(cache) for step, cache in line.caches.items()}
            if done == self._model.steps:
                parts[RETURNS] = returns_part(line.returns)
            self._heartbeat.send(Part(package.stream, plan.index, parts))
        return replace(package, latents=latents, steps_done=done, spans=tuple(spans))

    def _keep_returns(
        self, stream: str, line: _Line, plan: ChunkPlan, latents: torch.Tensor | None
    ) -> None:
        """Behind the last step: send latents back to the front of the chunk that needs them."""
        for gone in [chunk for chunk in line.returns if chunk <= plan.index]:
            del line.returns[gone]
        if plan.needed_by is None or latents is None:
            return
        line.returns[plan.needed_by] = latents
        if self._rank == 0:
            self._take_back(stream, plan.needed_by, latents)
        else:
            self._send(0, Package(stream, None, latents, returns=plan.needed_by))

    def _decode(self, package: Package, plan: ChunkPlan) -> None:
        assert package.latents is not None, "decoding comes after a step"
        if plan.index < self._dropped.get(package.stream, 0):
            self._heartbeat.send(Done(package.stream, plan.index, None, package.spans))
            return
        begin_s = time.monotonic()
        with self._heartbeat.busy():
            kept = self._kept.setdefault(package.stream, {})
            chunk = self._model.decode(plan, package.latents, kept)
        span = Span(self._rank, "decode", begin_s, time.monotonic())
        self._heartbeat.send(Done(package.stream, plan.index, chunk, (*package.spans, span)))

    def _close(self, stream: str) -> None:
        assert self._plan is not None, "a plan comes first"
        known = self._lines.pop(stream, None) is not None
        self._dropped.pop(stream, None)
        self._kept.pop(stream, None)
        to = self._plan.outlet(self._rank)
        # A decoder on an earlier stage would send it round for ever.
        if to is not None and known:
            self._send(to, Package(stream, None))

    def _send(self, to: int, package: Package) -> None:
        assert self._links is not None, "more than one stage"
        self._links.send(to, replace(package, era=self._era))

    def _load(self, message: Load) -> None:
        line = _Line()
        if self._rank == 0:
            line.state = self._model.restore(message.parts["prepare"])
            line.state.caches = []
            line.next_index = message.next_index
            line.state.returns |= load_returns(message.parts[RETURNS])
        if self._model.steps - 1 in self._own_steps:
            line.returns = load_returns(message.parts[RETURNS])
        for step in self._own_steps:
            line.caches[step] = load_cache(self._model.new_cache(), message.parts[step_part(step)])
        self._lines[message.stream] = line
        self._heartbeat.send(Loaded(message.stream))


def own_gpu(rank: int) -> torch.device | None:
    """The GPU of a stage, from here on the current one; None on a machine without.

    Under torchrun its LOCAL_RANK says which, else the stages are all on one machine.
    """
    if not (torch.cuda.is_available() and torch.distributed.is_nccl_available()):
        return None
    local = int(os.environ.get("LOCAL_RANK", rank))
    gpu = torch.device("cuda", local % torch.cuda.device_count())
    torch.cuda.set_device(gpu)
    return gpu


def make_model(spec: ModelSpec) -> StagedModel[Any]:
    """The model that a spec describes. Raises ValueError if it cannot be run in stages."""
    module, _, name = spec.factory.partition(":")
    model = getattr(importlib.import_module(module), name)(**spec.arguments)
    if not isinstance(model, StagedModel):
        raise ValueError(f"{spec.factory} {spec.arguments} makes no model that runs in stages")
    return model


def measure(model: StagedModel[Any]) -> Costs:
    """Median seconds of the parts of a chunk, here and now."""
    state = model.start(seed=0)
    rounds = list(_timed_chunks(model, state))[_WARM_UP:]
    prepare, *steps, decode = (statistics.median(times) for times in zip(*rounds, strict=True))
    return Costs(prepare, tuple(steps), decode)


def _timed_chunks(model: StagedModel[Any], state: Any) -> Iterator[list[float]]:
    for _ in range(_WARM_UP + _TIMED):
        marks = [time.perf_counter()]
        plan = model.prepare(state, Controls())
        marks.append(time.perf_counter())
        latents: torch.Tensor | None = None
        for step, cache in enumerate(state.caches):
            (latents,) = model.denoise([Row(plan, step, latents, cache)])
            marks.append(time.perf_counter())
        assert latents is not None, "a model has at least one step"
        model.decode(plan, latents, state.kept)
        marks.append(time.perf_counter())
        yield [end - begin for begin, end in itertools.pairwise(marks)]


def serve(heartbeat: Heartbeat) -> None:
    """Be a stage of the executor at the other end of this line until it is gone."""
    setup = heartbeat.receive()
    assert isinstance(setup, Setup), setup
    stage: Stage | None = None
    try:
        with torch.inference_mode():
            gpu = own_gpu(setup.rank)
            model = make_model(setup.model)
            links = None
            if setup.world > 1:
                links = Links(setup.rank, setup.world, setup.rendezvous, gpu)
            stage = Stage(setup.rank, model, heartbeat, links)
            first = setup.rank == 0
            ready = Ready(model.info, measure(model)) if first else Ready(None, None)
            heartbeat.send(ready)
            heartbeat.listen(stage.receive)
            stage.run()
    except Exception as error:
        stream = stage.working_for if stage is not None else None
        reason = f"{type(error).__name__}: {error}"
        heartbeat.send(Broken(reason, traceback.format_exc(), stream))
        raise
