"""One stage of a pipeline: a process that does its steps of every chunk that comes by.

Started by `crew` as `python -m rollcast.models.stages.stage`, or on another machine by `agent`.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import itertools
import os
import queue
import statistics
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from typing import Any

import torch

from ..kv_cache import StudentCache
from ..stream import Controls
from .agent import KEY_VARIABLE
from .contract import Order, Row, StagedModel
from .lifeline import Lifeline, die_with_parent
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
from .parts import cache_part, load_cache, step_part
from .places import knock
from .plan import Costs, Plan
from .wire import Package

_WARM_UP, _TIMED = 3, 5


@dataclass(slots=True)
class _Line:
    """What this stage keeps of a stream: caches of its steps; on stage 0 the model's state."""

    state: Any = None
    caches: dict[int, StudentCache] = field(default_factory=dict)


class Stage:
    """The work of one rank under a plan."""

    def __init__(self, rank: int, model: StagedModel[Any], line: Lifeline, links: Links | None):
        self._rank = rank
        self._model = model
        self._lifeline = line
        self._links = links
        self._plan: Plan | None = None
        self._lines: dict[str, _Line] = {}
        self._dropped: dict[str, int] = {}
        # Bounded by the executor: it admits few more chunks than there are stages.
        self._work: queue.SimpleQueue[ToStage | Package] = queue.SimpleQueue()

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
            self._do(self._work.get())

    def _do(self, message: ToStage | Package) -> None:
        match message:
            case Package():
                self._pass(message)
            case Step():
                self._admit(message)
            case Open():
                self._open(message)
            case Close():
                self._close(message.stream)
            case Load():
                self._load(message)
            case Assign():
                self._assign(message.plan)
            case _:
                raise AssertionError(message)

    def _assign(self, plan: Plan) -> None:
        self._plan = plan
        self._lines.clear()
        self._dropped.clear()
        if self._links is not None and self._rank < plan.stages:
            for source in plan.inlets(self._rank):
                self._links.listen(source, self.receive)
        self._lifeline.send(Assigned())

    def _open(self, message: Open) -> None:
        try:
            state = self._model.start(seed=message.seed, scene=message.scene, prompt=message.prompt)
        except ValueError as error:
            self._lifeline.send(Refused(message.stream, str(error)))
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

    def _admit(self, message: Step) -> None:
        line = self._lines.get(message.stream)
        if line is None:
            return
        begin_s = time.monotonic()
        try:
            with self._lifeline.busy():
                order = self._model.front(line.state, message.controls)
        except ValueError as error:
            self._lifeline.send(Refused(message.stream, str(error)))
            return
        if message.snapshot:
            parts = {"front": self._model.snapshot(line.state)}
            self._lifeline.send(Part(message.stream, order.index, parts))
        span = Span(self._rank, "front", begin_s, time.monotonic())
        self._pass(Package(message.stream, order, snapshot=message.snapshot, spans=(span,)))

    def _pass(self, package: Package) -> None:
        """Do this stage's part of a chunk and hand it on."""
        assert self._plan is not None, "a plan comes first"
        order = package.order
        if order is None:
            self._close(package.stream)
            return
        clean = package.steps_done == self._model.steps
        if not clean:
            package = self._denoise(package, order)
        to = None if clean else self._plan.outlet(self._rank)
        if to is None:
            self._decode(package, order)
        else:
            assert self._links is not None, "more than one stage"
            self._links.send(to, package)

    def _denoise(self, package: Package, order: Order) -> Package:
        line = self._lines.setdefault(package.stream, _Line())
        latents, spans = package.latents, list(package.spans)
        for step in self._own_steps:
            if step not in line.caches:
                line.caches[step] = self._model.new_cache()
            begin_s = time.monotonic()
            with self._lifeline.busy():
                (latents,) = self._model.denoise([Row(order, step, latents, line.caches[step])])
            spans.append(Span(self._rank, f"step {step}", begin_s, time.monotonic()))
        if package.snapshot:
            parts = {step_part(step): cache_part(cache) for step, cache in line.caches.items()}
            self._lifeline.send(Part(package.stream, order.index, parts))
        done = package.steps_done + len(self._own_steps)
        return replace(package, latents=latents, steps_done=done, spans=tuple(spans))

    def _decode(self, package: Package, order: Order) -> None:
        assert package.latents is not None, "decoding comes after a step"
        if order.index < self._dropped.get(package.stream, 0):
            self._lifeline.send(Done(package.stream, order.index, None, package.spans))
            return
        begin_s = time.monotonic()
        with self._lifeline.busy():
            chunk = self._model.decode(order, package.latents)
        span = Span(self._rank, "decode", begin_s, time.monotonic())
        self._lifeline.send(Done(package.stream, order.index, chunk, (*package.spans, span)))

    def _close(self, stream: str) -> None:
        assert self._plan is not None, "a plan comes first"
        known = self._lines.pop(stream, None) is not None
        self._dropped.pop(stream, None)
        to = self._plan.outlet(self._rank)
        # A decoder on an earlier stage would send it round for ever.
        if to is not None and self._links is not None and known:
            self._links.send(to, Package(stream, None))

    def _load(self, message: Load) -> None:
        line = _Line()
        if self._rank == 0:
            line.state = self._model.restore(message.parts["front"])
            line.state.caches = []
        for step in self._own_steps:
            line.caches[step] = load_cache(self._model.new_cache(), message.parts[step_part(step)])
        self._lines[message.stream] = line
        self._lifeline.send(Loaded(message.stream))


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
    front, *steps, decode = (statistics.median(times) for times in zip(*rounds, strict=True))
    return Costs(front, tuple(steps), decode)


def _timed_chunks(model: StagedModel[Any], state: Any) -> Iterator[list[float]]:
    for _ in range(_WARM_UP + _TIMED):
        marks = [time.perf_counter()]
        order = model.front(state, Controls())
        marks.append(time.perf_counter())
        latents: torch.Tensor | None = None
        for step, cache in enumerate(state.caches):
            (latents,) = model.denoise([Row(order, step, latents, cache)])
            marks.append(time.perf_counter())
        assert latents is not None, "a model has at least one step"
        model.decode(order, latents)
        marks.append(time.perf_counter())
        yield [end - begin for begin, end in itertools.pairwise(marks)]


def serve(connection: Connection) -> None:
    """Be a stage over this connection until it closes."""
    lifeline = Lifeline(connection)
    setup = lifeline.receive()
    assert isinstance(setup, Setup), setup
    try:
        with torch.inference_mode():
            model = make_model(setup.model)
            links = None
            if setup.world > 1:
                links = Links(setup.rank, setup.world, setup.rendezvous, setup.backend)
            stage = Stage(setup.rank, model, lifeline, links)
            first = setup.rank == 0
            ready = Ready(model.info, measure(model)) if first else Ready(None, None)
            lifeline.send(ready)
            lifeline.start(stage.receive)
            stage.run()
    except Exception as error:
        lifeline.send(Broken(f"{type(error).__name__}: {error}", traceback.format_exc()))
        raise


def _connection(arguments: Sequence[str]) -> Connection:
    """The control connection: a socket that was inherited, or the executor's door."""
    parser = argparse.ArgumentParser(prog="stage")
    parser.add_argument("--fd", type=int)
    parser.add_argument("--connect")
    parser.add_argument("--rank", type=int, default=0)
    given = parser.parse_args(arguments)
    if given.fd is not None:
        return Connection(given.fd)
    host, _, port = given.connect.rpartition(":")
    return knock((host, int(port)), os.environ[KEY_VARIABLE].encode(), f"stage {given.rank}")


if __name__ == "__main__":
    die_with_parent()
    with contextlib.suppress(KeyboardInterrupt):
        serve(_connection(sys.argv[1:]))
    os._exit(1)
