"""How long the parts of a chunk take on this machine, once a model has done everything it can."""

from __future__ import annotations

import statistics
import sys
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ..contract import Model
from ..warm_up import every_control, first_request, usual_controls
from .stage_plan import Costs

if TYPE_CHECKING:
    from ..staged_model import StagedModel

_TIMED = 5


def measure_whole(model: Model[Any]) -> Costs:
    """Median seconds of a chunk that is made in one piece."""
    state = _warmed(model)
    usual, times_s = usual_controls(model.info), list[float]()
    for _ in range(_TIMED):
        begin_s = time.perf_counter()
        model.step(state, usual)
        _wait_for_device()
        times_s.append(time.perf_counter() - begin_s)
    return Costs(0.0, (statistics.median(times_s),), 0.0)


def measure_parts(model: StagedModel[Any]) -> Costs:
    """Median seconds of the parts of a chunk."""
    state = _warmed(model)
    rounds = [_parts_s(model, state) for _ in range(_TIMED)]
    prepare_s, *calls_s, decode_s = (statistics.median(each) for each in zip(*rounds, strict=True))
    return Costs(prepare_s, tuple(calls_s), decode_s)


def _warmed(model: Model[Any]) -> Any:
    """The state of a stream that was told everything."""
    state = model.start(first_request(model.info))
    for controls in every_control(model.info):
        model.step(state, controls)
    return state


def _parts_s(model: StagedModel[Any], state: Any) -> list[float]:
    """Seconds of the parts of the next chunk."""
    from ..staged_model import Row, decode_chunk

    marks = [time.perf_counter()]
    plan = model.prepare(state, usual_controls(model.info))
    marks.append(time.perf_counter())
    latents = None
    for number, call in enumerate(model.chunk_steps.calls):
        (latents,) = model.denoise([Row(plan, number, latents, state.caches[call.cache])])
        _wait_for_device()
        marks.append(time.perf_counter())
    assert latents is not None, "a chunk takes at least one call"
    decode_chunk(model, plan, latents, state.decoder)
    _wait_for_device()
    marks.append(time.perf_counter())
    return [end - begin for begin, end in pairwise(marks)]


def _wait_for_device() -> None:
    """What a model asks of a GPU is only queued when its methods return."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()
