"""How much sooner a model's denoising steps are made for k streams as one batch than one by one.

Both in turn in one process, whose processor time counts: so other work of the machine makes both
slower, and the ratio little else. The decoder is not part of it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch

from ...models.batch_shape import makes_batches
from ...models.contract import Model
from ...models.staged_model import StagedModel, all_steps, clean_pass
from ...models.warm_up import first_request, usual_controls
from ..rounding import rounded
from ..stream.stream import device_name

_SETTLED = 8
"""Rounds until every ring is full."""


@dataclass(frozen=True, slots=True)
class StepsRow:
    """Seconds of processor time for the steps of `rows` chunks, the medians of all rounds.

    `gain` is the median of their ratios, one by one over batched, round by round.
    """

    rows: int
    one_by_one_s: float
    batched_s: float
    gain: float


@dataclass(frozen=True, slots=True)
class StepsReport:
    """All numbers of rows, on `threads` threads."""

    device: str
    model: str
    threads: int
    rows: list[StepsRow]

    def to_json(self) -> dict[str, object]:
        """The report as plain values, figures to five digits."""
        return {key: rounded(value) for key, value in asdict(self).items()}


def measure_steps(
    model: Model[Any], rows: tuple[int, ...], rounds: int, say: Callable[[str], None]
) -> StepsReport:
    """Raises ValueError for a model that makes no batches."""
    name = model.info.name
    if not isinstance(model, StagedModel) or not makes_batches(model):
        raise ValueError(f"model {name} makes no batches")
    measured: list[StepsRow] = []
    for k in rows:
        say(f"steps of {k} rows, {rounds} times each way in turn")
        measured.append(_measure(model, k, rounds))
    return StepsReport(device_name(), name, torch.get_num_threads(), measured)


def _measure(model: StagedModel[Any], rows: int, rounds: int) -> StepsRow:
    alone, together = _streams(model, rows), _streams(model, rows)
    ratios: list[float] = []
    times: list[tuple[float, float]] = []
    for number in range(_SETTLED + rounds):
        single_s = sum(_steps_s(model, [state]) for state in alone)
        # chunks with which a stream begins are made alone
        groups = [together] if number else [[state] for state in together]
        batch_s = sum(_steps_s(model, group) for group in groups)
        if number >= _SETTLED:
            ratios.append(single_s / batch_s)
            times.append((single_s, batch_s))
    singles, batches = zip(*times, strict=True)
    return StepsRow(
        rows, statistics.median(singles), statistics.median(batches), statistics.median(ratios)
    )


def _streams(model: StagedModel[Any], count: int) -> list[Any]:
    return [model.start(first_request(model.info)) for _ in range(count)]


def _steps_s(model: StagedModel[Any], states: list[Any]) -> float:
    plans = [model.prepare(state, usual_controls(model.info)) for state in states]
    chunks = [(plan, state.caches) for plan, state in zip(plans, states, strict=True)]
    began_s = time.process_time()
    with torch.inference_mode():
        clean_pass(model, chunks, all_steps(model, chunks))
    return time.process_time() - began_s
