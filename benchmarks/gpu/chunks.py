"""Step 2: chunks of Wan 1.3B with random weights, by the code that serves it."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from statistics import median
from typing import Any

import numpy as np
import torch

from ...kernels.dispatch import use_provider
from ...models.contract import Controls
from ...models.staged_model import run_chunk
from ...models.wan.stream.model import WanModel
from ...models.warm_up import first_request
from .bench import Bench
from .busy_share import DEPTHS, CudaTrace, Trace, busy_shares, period_ms, shown
from .compiles import wall_ms, watch_compiles
from .random_model import Measures, random_model
from .step_process import NotHere
from .virtual_device import VirtualDevice

CHUNKS = 14
_FULL = 4
"""Chunks until the window is full."""
_MORE = 4
"""Chunks with some in flight, and of which the device's share is told."""


def run(bench: Bench) -> None:
    """As it is served, without graphs, and with cuDNN's attention; then with a tiny decoder."""
    model, trace = _model(bench)
    bench.part("graphs", lambda: _with_graphs(bench, model, trace))
    bench.part("eager", lambda: measured(bench, model, trace, without_graphs(model)))
    bench.part("cuDNN", lambda: measured(bench, model, trace, _by_cudnn(model)))
    bench.part("tiny decoder", lambda: measured(bench, *_model(bench, tiny_decoder=True)))


def _model(bench: Bench, *, tiny_decoder: bool = False) -> tuple[WanModel, Trace]:
    """With what tells when its device is at work."""
    measures = Measures(tiny=bench.rehearse, tiny_decoder=tiny_decoder)
    if bench.on_gpu:
        return random_model(measures, bench.device), CudaTrace()
    stand_in = VirtualDevice()
    return random_model(measures, bench.device, stand_in=stand_in), stand_in


def _with_graphs(bench: Bench, model: WanModel, trace: Trace) -> dict[str, Any]:
    student: Any = model.student
    if getattr(student, "graphs", None) is None:
        raise NotHere("needs CUDA graphs")
    return measured(bench, model, trace) | {"counts": dict(student.graphs.counts)}


@contextmanager
def without_graphs(model: WanModel) -> Iterator[None]:
    """Within it the student's calls are made one operation after another."""
    student: Any = model.student
    before = getattr(student, "graphs", None)
    if before is not None:
        student.graphs = None
    try:
        yield
    finally:
        if before is not None:
            student.graphs = before


@contextmanager
def _by_cudnn(model: WanModel) -> Iterator[None]:
    with without_graphs(model), use_provider("cudnn"):
        yield


def measured(
    bench: Bench,
    model: WanModel,
    trace: Trace,
    context: AbstractContextManager[None] | None = None,
) -> dict[str, Any]:
    """A stream of chunks that are alone, then of chunks in flight, and what one asks of the host.

    It makes frames as fast as with chunks in flight, as it does where it serves.
    """
    chunks, more = (3, 2) if bench.rehearse else (CHUNKS, _MORE)
    bench.peak_gb()
    with context or nullcontext(), watch_compiles() as compiled:
        begun = time.perf_counter()
        state = model.start(first_request(model.info))
        times: list[float] = []
        frames = 0
        for number in range(chunks):
            before = time.perf_counter()
            frames = shown(run_chunk(model, state, Controls()))
            times.append(wall_ms(before))
            if number == 0:
                first_ms = wall_ms(begun)
            if number == min(_FULL, chunks - 1):
                compiled.clear()
        late = list(compiled)
        syncs = count_syncs(bench, lambda: shown(run_chunk(model, state, Controls())))
        flight_ms = period_ms(model, state, more, DEPTHS["in flight"])
        busy = busy_shares(trace, model, state, more)
        parts = _parts(bench, model, state)
    steady = times[min(_FULL, chunks - 1) :]
    return {
        "fps": 1e3 * frames / flight_ms,
        "ttff_ms": first_ms,
        "chunk_ms": {
            "in flight": flight_ms,
            "p50": median(steady),
            "p95": float(np.percentile(steady, 95)),
            "all": times,
        },
        "frames": frames,
        "parts_ms": parts,
        "peak_gb": bench.peak_gb(),
        "busy_share": busy,
        "syncs": syncs,
        "late_compiles": late,
    }


def _parts(bench: Bench, model: WanModel, state: Any) -> dict[str, float]:
    """Milliseconds of each part of a chunk with the device idle before: they add up to more than
    a chunk takes, in which the host is ahead."""
    from ...models.staged_model import all_calls, decode_chunk

    found: dict[str, float] = {}

    def timed(name: str, call: Callable[[], Any]) -> Any:
        bench.synchronize()
        begun = time.perf_counter()
        made = call()
        bench.synchronize()
        found[name] = wall_ms(begun)
        return made

    plan = timed("prepare", lambda: model.prepare(state, Controls()))
    (latents,) = timed("denoise", lambda: all_calls(model, [(plan, state.caches)]))
    chunk = timed("decode", lambda: decode_chunk(model, plan, latents, state.decoder))
    timed("frames", lambda: shown(chunk))
    return found


def count_syncs(bench: Bench, call: Callable[[], object]) -> int | None:
    """How often the host waits for the device in a call, its last wait for frames included."""
    if not bench.on_gpu:
        call()
        return None
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            call()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(each.message) for each in told)
