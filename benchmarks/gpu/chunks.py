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
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from ...kernels.dispatch import use_provider
from ...models.contract import Chunk, Controls
from ...models.staged_model import run_chunk
from ...models.wan.stream.model import WanModel
from ...models.warm_up import first_request
from ...models.yuv_frames import pixels_of
from .bench import Bench
from .compiles import wall_ms, watch_compiles
from .random_model import Measures, random_model
from .step_process import NotHere

CHUNKS = 14
_FULL = 4
"""Chunks until the window is full."""


def run(bench: Bench) -> None:
    """As it is served, without graphs, and with cuDNN's attention; then with a tiny decoder."""
    chunks = 3 if bench.rehearse else CHUNKS
    model = random_model(Measures(tiny=bench.rehearse), bench.device)
    bench.part("graphs", lambda: _with_graphs(bench, model, chunks))
    bench.part("eager", lambda: measured(bench, model, chunks, without_graphs(model)))
    bench.part("cuDNN", lambda: measured(bench, model, chunks, _by_cudnn(model)))
    bench.part("tiny decoder", lambda: _with_tiny_decoder(bench, chunks))


def _with_tiny_decoder(bench: Bench, chunks: int) -> dict[str, Any]:
    measures = Measures(tiny=bench.rehearse, tiny_decoder=True)
    return measured(bench, random_model(measures, bench.device), chunks, nullcontext())


def _with_graphs(bench: Bench, model: WanModel, chunks: int) -> dict[str, Any]:
    student: Any = model.student
    if getattr(student, "graphs", None) is None:
        raise NotHere("needs CUDA graphs")
    return measured(bench, model, chunks, nullcontext()) | {"counts": dict(student.graphs.counts)}


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
    bench: Bench, model: WanModel, chunks: int, context: AbstractContextManager[None]
) -> dict[str, Any]:
    """A stream of so many chunks, and what one more asks of host and device."""
    bench.peak_gb()
    with context, watch_compiles() as compiled:
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
        more = lambda: shown(run_chunk(model, state, Controls()))  # noqa: E731
        syncs = count_syncs(bench, more)
        busy = busy_share(bench, more)
        parts = _parts(bench, model, state)
    steady = times[min(_FULL, chunks - 1) :]
    return {
        "fps": 1e3 * frames / median(steady),
        "ttff_ms": first_ms,
        "chunk_ms": {
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


def shown(chunk: Chunk) -> int:
    """How many frames it has, once they are here."""
    return len(pixels_of(chunk.pictures))


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


def busy_share(bench: Bench, call: Callable[[], object]) -> float | None:
    """Which part of a call's time the device works; a profiler slows the host a little."""
    if not bench.on_gpu:
        call()
        return None
    bench.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as made:
        begun = time.perf_counter()
        call()
        bench.synchronize()
        took_us = 1e3 * wall_ms(begun)
    events = made.events() or []
    spans = sorted(
        (each.time_range.start, each.time_range.end)
        for each in events
        if each.device_type == DeviceType.CUDA
    )
    busy_us, end = 0.0, float("-inf")
    for first, last in spans:
        busy_us += max(0.0, last - max(first, end))
        end = max(end, last)
    return busy_us / took_us
