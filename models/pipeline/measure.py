"""How long the parts of a chunk take on this machine, once a model has done everything it can."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ..contract import Controls, Model
from ..warm_up import every_control, first_request, usual_controls
from .stage_plan import Costs

if TYPE_CHECKING:
    from torch import Tensor

    from ..staged_model import StagedModel

_TIMED = 5


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
    """Median seconds of the parts of a chunk.

    Caches that no calls share are used one after another, each through the whole stream: so there
    is never more than one of them in memory, as later in a stage of its own.
    """
    steps = model.chunk_steps
    edges = (0, *steps.cuts, len(steps.calls))
    calls_s: list[float] = []
    latents: list[Tensor | None] = [None] * len(_told(model))
    prepare_s = 0.0
    for begin, end in pairwise(edges):
        last = end == edges[-1]
        prepare_s, *own_s = _parts_s(model, range(begin, end), latents, decodes=last)
        calls_s += own_s
    *calls_s, decode_s = calls_s
    return Costs(prepare_s, tuple(calls_s), decode_s)


def measure_caches(model: StagedModel[Any]) -> int:
    """Bytes of a stream's caches."""
    own = sum(tensor.nbytes for tensor in model.new_cache().tensors().values())
    return own * model.chunk_steps.caches


def _told(model: StagedModel[Any]) -> list[Controls]:
    """What the chunks of a stream are told that is measured: everything, then the usual."""
    return [*every_control(model.info), *[usual_controls(model.info)] * _TIMED]


def _parts_s(
    model: StagedModel[Any],
    calls: Sequence[int],
    latents: list[Tensor | None],
    *,
    decodes: bool,
) -> list[float]:
    """Median seconds of `prepare`, these calls and, if asked for, `decode`.

    In a stream of their own; `latents` are those of each chunk behind the calls before, and then
    behind these.
    """
    from ..staged_model import Row, end_chunk, keep_returns

    state, rounds = model.start(first_request(model.info)), list[list[float]]()
    for index, controls in enumerate(_told(model)):
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
        rounds.append([end - begin for begin, end in pairwise(marks)])
    return [statistics.median(each) for each in zip(*rounds[-_TIMED:], strict=True)]


def _wait_for_device() -> None:
    """What a model asks of a GPU is only queued when its methods return."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()
