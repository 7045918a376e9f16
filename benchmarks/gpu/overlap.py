"""Step 7: what is gained by denoising a chunk while the one before is decoded.

One after the other, by two streams of one process, and by two processes on one GPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from multiprocessing import get_context
from multiprocessing.connection import Connection

import torch
from torch import Tensor

from ...models.contract import Controls
from ...models.staged_model import all_calls
from ...models.wan.stream.decoders import decoded
from ...models.wan.stream.model import yuv_levels
from ...models.warm_up import first_request
from .bench import Bench
from .compiles import wall_ms
from .random_model import Measures, random_decoder, random_model

_CHUNKS = 6
_READY_S = 20.0
_END_S = 2.0


def run(bench: Bench) -> None:
    """The other process is made first: once CUDA is set up nobody may fork."""
    context = get_context("fork")
    here, there = context.Pipe()
    beside = context.Process(target=_decode_beside, args=(bench, there), daemon=True)
    beside.start()
    there.close()
    try:
        denoise, decode = _work(bench)
        bench.part("denoise_ms", lambda: _each_ms(bench, denoise))
        bench.part("decode_ms", lambda: _each_ms(bench, decode))
        bench.part("one after the other", lambda: _each_ms(bench, denoise, decode))
        bench.part("two streams", lambda: _two_streams(bench, denoise, decode))
        bench.part("two processes", lambda: _two_processes(bench, denoise, here))
    finally:
        # which ends it, too, if it waits
        here.close()
        beside.join(_END_S)
        beside.kill()


def _work(bench: Bench) -> tuple[Callable[[], object], Callable[[], object]]:
    """A chunk's calls, and its decoding, each on its own."""
    model = random_model(Measures(tiny=bench.rehearse), bench.device)
    state = model.start(first_request(model.info))

    def denoise() -> None:
        plan = model.prepare(state, Controls())
        all_calls(model, [(plan, state.caches)])

    return denoise, _decoding(bench)


def _decoding(bench: Bench) -> Callable[[], object]:
    measures = Measures(tiny=bench.rehearse)
    decoder = random_decoder(
        measures.decoder(), bench.device, measures.dtype, channels_last=bench.on_gpu
    )
    rows, columns = (4, 8) if bench.rehearse else (60, 104)
    latents = torch.randn(1, 3, 16, rows, columns, device=bench.device).to(measures.dtype)
    memory: dict[str, Tensor] = {}

    @torch.inference_mode()
    def decode() -> None:
        for _ in decoded(decoder, latents, memory, yuv_levels):
            pass

    return decode


def _each_ms(bench: Bench, *calls: Callable[[], object]) -> float:
    """Milliseconds of a round of these, queued one behind the other."""
    chunks = 1 if bench.rehearse else _CHUNKS
    for number in range(-1, chunks):
        if number == 0:
            bench.synchronize()
            begun = time.perf_counter()
        for call in calls:
            call()
    bench.synchronize()
    return wall_ms(begun) / chunks


def _two_streams(bench: Bench, *calls: Callable[[], object]) -> float:
    streams = [torch.cuda.Stream(bench.device) if bench.on_gpu else None for _ in calls]

    def on(stream: torch.cuda.Stream | None, call: Callable[[], object]) -> Callable[[], object]:
        def queued() -> None:
            with nullcontext() if stream is None else torch.cuda.stream(stream):
                call()

        return queued

    return _each_ms(bench, *map(on, streams, calls))


def _two_processes(
    bench: Bench, denoise: Callable[[], object], beside: Connection
) -> dict[str, float]:
    """Both work all the time; milliseconds of a chunk in each."""
    if not beside.poll(_READY_S):
        raise TimeoutError("the other process was not ready")
    beside.recv()
    beside.send("begin")
    own_ms = _each_ms(bench, denoise)
    beside.send("end")
    return {"denoise_ms": own_ms, "decode_ms": beside.recv()}


def _decode_beside(bench: Bench, told: Connection) -> None:
    """In the other process: decode from "begin" to "end"."""
    decode = _decoding(bench)
    _each_ms(bench, decode)
    told.send("ready")
    try:
        told.recv()
    except EOFError:
        return
    begun, chunks = time.perf_counter(), 0
    while not told.poll() or not chunks:
        decode()
        bench.synchronize()
        chunks += 1
    told.send(wall_ms(begun) / chunks)
