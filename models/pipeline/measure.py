"""How long the parts of a chunk take on this machine, once a model has done everything it can."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ..contract import Controls, Model
from ..warm_up import every_control, first_request, usual_controls
from .stage_plan import Costs

if TYPE_CHECKING:
    from torch import Tensor

    from ..staged_model import StagedModel

_TIMED = 5
Measuring = Generator[None, None, Costs]
"""It pauses behind every chunk, and returns what it found."""


def measure_whole(model: Model[Any]) -> Costs:
    """Median seconds of a chunk that is made in one piece."""
    state = model.start(first_request(model.info))
    for controls in every_control(model.info):
        model.step(state, controls)
    usual, times_s = usual_controls(model.info), list[float]()
    for _ in range(_TIMED):
        begin_s = time.perf_counter()
        model.step(state, usual)
        _wait_for_device()
        times_s.append(time.perf_counter() - begin_s)
    return Costs(0.0, (statistics.median(times_s),), 0.0)


def measure_parts(model: StagedModel[Any]) -> Costs:
    """Median seconds of the parts of a chunk."""
    return _found(measuring_parts(model))


def measuring_parts(model: StagedModel[Any]) -> Measuring:
    """The same, chunk by chunk."""
    told = [*every_control(model.info), *[usual_controls(model.info)] * _TIMED]
    return _measuring(model, told, _TIMED)


def measure_one(model: StagedModel[Any]) -> Costs:
    """Seconds of the parts of the first chunk of all: more than of any later one."""
    return _found(_measuring(model, [usual_controls(model.info)], timed=1))


def measure_caches(model: StagedModel[Any]) -> int:
    """Bytes of a stream's caches."""
    own = sum(tensor.nbytes for tensor in model.new_cache().tensors().values())
    return own * model.chunk_steps.caches


def _found(measuring: Measuring) -> Costs:
    while True:
        try:
            next(measuring)
        except StopIteration as over:
            return over.value


def _measuring(model: StagedModel[Any], told: Sequence[Controls], timed: int) -> Measuring:
    """Median seconds of the parts of the last `timed` chunks of a stream that is told so much.

    Caches that no calls share are used one after another, each through the whole stream: so there
    is never more than one of them in memory, as later in a stage of its own.
    """
    steps = model.chunk_steps
    edges = (0, *steps.cuts, len(steps.calls))
    calls_s: list[float] = []
    latents: list[Tensor | None] = [None] * len(told)
    prepare_s = 0.0
    for begin, end in pairwise(edges):
        rounds: list[list[float]] = []
        calls, decodes = range(begin, end), end == edges[-1]
        for times_s in _rounds(model, told, calls, latents, decodes=decodes):
            rounds.append(times_s)
            yield
        prepare_s, *own_s = [statistics.median(each) for each in zip(*rounds[-timed:], strict=True)]
        calls_s += own_s
    *calls_s, decode_s = calls_s
    return Costs(prepare_s, tuple(calls_s), decode_s)


def _rounds(
    model: StagedModel[Any],
    told: Sequence[Controls],
    calls: Sequence[int],
    latents: list[Tensor | None],
    *,
    decodes: bool,
) -> Iterator[list[float]]:
    """Of each chunk the seconds of `prepare`, these calls and, if asked for, `decode`.

    In a stream of their own; `latents` are those of each chunk behind the calls before, and then
    behind these.
    """
    from ..staged_model import Row, end_chunk, keep_returns

    state = model.start(first_request(model.info))
    for index, controls in enumerate(told):
        marks = [time.perf_counter()]
        plan = model.prepare(state, controls)
        marks.append(time.perf_counter())
        sample = latents[index]
        for number in calls:
            cache = state.caches[model.chunk_steps.calls[number].cache]
            (sample,) = model.denoise([Row(plan, number, sample, cache)])
            _wait_for_device()
            marks.append(time.perf_counter())
        assert sample is not None, "at least one call"
        latents[index] = sample
        if decodes:
            end_chunk(model, plan, sample, state)
            _wait_for_device()
            marks.append(time.perf_counter())
        else:
            keep_returns(plan, sample, state)
        yield [end - begin for begin, end in pairwise(marks)]


def _wait_for_device() -> None:
    """What a model asks of a GPU is only queued when its methods return."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()
