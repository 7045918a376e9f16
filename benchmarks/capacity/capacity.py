"""How many streams the real server keeps in real time, one by one, in turns and in batches.

It knows the ways by the names that `rollcast serve --turns` has for them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from ..rounding import rounded
from ..stream.metrics_text import Sample
from ..stream.processor_time import OtherLoad
from ..stream.server_process import ServerProcess, start_timeout_s
from ..stream.stream import (
    Native,
    device_name,
    first_frame,
    watch_server,
)

IN_TIME = 0.995
"""Of the chunks of streams at real time, at least, were there before their viewer ran dry."""
FULL_RATE = 0.98
"""Of the model's frame rate the slowest viewer gets, at least."""
_SETTLE_S = 6.0
_PROBE_S = 40.0


@dataclass(frozen=True, slots=True)
class Trial:
    """So many streams at once, and how they share the model."""

    turns: str
    streams: int


@dataclass(frozen=True, slots=True)
class CapacityPlan:
    """What to measure; `core` pins the server, its model and its encoders to one processor.

    `options` are further ones of `rollcast serve`, about the model.
    """

    model: str
    trials: tuple[Trial, ...]
    seconds: float
    threads: int | None = None
    core: int | None = None
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TrialRow:
    """What the viewers of a trial got. `fps` is the slowest one's; `in_time` the share of chunks
    that were done before their viewer ran dry; `chunk_s` a chunk's time at the 95th percentile;
    `waits_s` how long it waited for its turn; `batched` the share of chunks that were made in
    batches; `others` what else the machine did, in processors."""

    turns: str
    streams: int
    fps: float
    in_time: float
    chunk_s: float
    waits_s: float
    batched: float
    others: float
    real_time: bool


@dataclass(frozen=True, slots=True)
class CapacityReport:
    """`alone_s` is a chunk's time, `table` those of batches by rows."""

    device: str
    model: str
    cores: int | None
    chunk_s: float
    alone_s: float
    table: dict[str, float]
    measured: list[TrialRow]

    def to_json(self) -> dict[str, object]:
        """The report as plain values, figures to five digits."""
        return {key: rounded(value) for key, value in asdict(self).items()}


def measure_capacity(plan: CapacityPlan, say: Callable[[str], None]) -> CapacityReport:
    """Run the plan; `say` is told what goes on. Raises ServerDied."""
    say("how long batches take")
    native, alone_s, table = _table(plan)
    rows: list[TrialRow] = []
    for trial in plan.trials:
        say(f"{trial.streams} stream(s), {trial.turns}, for {plan.seconds:g} s")
        rows.append(_trial(plan, trial, native))
    return CapacityReport(
        device=device_name(),
        model=plan.model,
        cores=None if plan.core is None else 1,
        chunk_s=native.chunk_s,
        alone_s=alone_s,
        table={str(size): seconds for size, seconds in table.items()},
        measured=rows,
    )


def _server(plan: CapacityPlan, streams: int, turns: str) -> ServerProcess:
    return ServerProcess(
        plan.model,
        max_sessions=streams + 1,
        threads=plan.threads,
        options=("--turns", turns, *plan.options),
        start_timeout_s=start_timeout_s(plan.options),
        cores=() if plan.core is None else (plan.core,),
    )


def _table(plan: CapacityPlan) -> tuple[Native, float, dict[int, float]]:
    """The model's format, a chunk's time and those of batches, as an idle server finds them."""
    with _server(plan, 1, "auto") as server:
        server.wait_ready()
        native = asyncio.run(first_frame(server.url))
        known: dict[int, float] = {}
        end_s, quiet_s = time.monotonic() + _PROBE_S, time.monotonic() + _PROBE_S / 2
        while time.monotonic() < min(end_s, quiet_s):
            time.sleep(1.0)
            now = _batches(server.metrics(), plan.model)
            if len(now) > len(known):
                known = now
                quiet_s = time.monotonic() + 10.0
        alone_s = server.metrics().value("rollcast_warm_step_seconds", model=plan.model)
    return native, alone_s, known


def _batches(sample: Sample, model: str) -> dict[int, float]:
    found: dict[int, float] = {}
    for (name, labels), value in sample.values.items():
        told = dict(labels)
        if name == "rollcast_batch_seconds" and told.get("model") == model:
            found[int(told["rows"])] = value
    return dict(sorted(found.items()))


def _trial(plan: CapacityPlan, trial: Trial, native: Native) -> TrialRow:
    with _server(plan, trial.streams, trial.turns) as server:
        server.wait_ready()
        if trial.turns == "batched":
            # until it is known how long batches take, none is made
            end_s = time.monotonic() + _PROBE_S
            while not _batches(server.metrics(), plan.model) and time.monotonic() < end_s:
                time.sleep(0.5)
        other = OtherLoad()
        viewers, span = watch_server(server, trial.streams, plan.seconds, settle_s=_SETTLE_S)
        others = other.cores()
    chunks = span.grown("rollcast_chunks_total")
    late = span.grown("rollcast_late_chunks_total") / max(1.0, chunks)
    alone = span.grown("rollcast_batched_chunks_total", rows="1")
    waits = span.grown("rollcast_turn_wait_seconds_count")
    fps = min(viewer["frames"] / viewer["seconds"] for viewer in viewers)
    return TrialRow(
        turns=trial.turns,
        streams=trial.streams,
        fps=fps,
        in_time=1 - late,
        chunk_s=span.step_percentile_s(0.95),
        waits_s=span.grown("rollcast_turn_wait_seconds_sum") / max(1.0, waits),
        batched=1 - alone / max(1.0, chunks),
        others=others,
        real_time=1 - late >= IN_TIME and fps >= FULL_RATE * native.fps,
    )
