"""Step 5: one call of a 14B student with a full window, and what it takes of memory."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch

from ...models.student.config import CacheConfig
from ...models.wan.presets.wan21 import T2V_14B
from .bench import Bench
from .random_model import Measures, random_student
from .random_students import random_text
from .step_process import NotHere

_BYTES = 52e9
"""Weights, cache and what a call needs, by the plan of memory, with some room."""
_CACHE = CacheConfig(window_frames=6, sink_frames=3, sink="ema")


@torch.inference_mode()
def run(bench: Bench) -> None:
    """Three latents of 480x832 behind a window of nine."""
    if bench.on_gpu and torch.cuda.mem_get_info(bench.device)[0] < _BYTES:
        raise NotHere(f"needs {_BYTES / 1e9:.0f} GB")
    measures = Measures(tiny=bench.rehearse)
    config = measures.student(replace(T2V_14B, rope="slot"))
    rows, columns = (4, 8) if bench.rehearse else (60, 104)
    student = random_student(config, bench.device, measures.dtype)
    if bench.on_gpu:
        student.pack()
    context = random_text(student)
    cache = student.new_cache(_CACHE, height=rows, width=columns)
    latents = torch.randn(1, 3, 16, rows, columns, device=bench.device).to(measures.dtype)
    times = torch.full((1, 3), 700.0, device=bench.device)
    bench.note("loaded_gb", bench.peak_gb())
    for _ in range(4):
        student(latents, times, context, cache)
        cache.advance(3)
    call = partial(student, latents, times, context, cache)
    bench.note("call", bench.clock(5, 2).apart(call))
    bench.note("peak_gb", bench.peak_gb())
