"""Times of whole models: a chunk of Wan's student, its decoder, the pocket student."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ...kernels.dispatch import use_backend
from ...models.pocket.config import CACHE as POCKET_CACHE
from ...models.pocket.config import STEPS as POCKET_STEPS
from ...models.pocket.config import STUDENT as POCKET
from ...models.sampling.denoising import denoise_chunk
from ...models.sampling.flow_schedule import FlowSchedule
from ...models.student.causal_student import CausalStudent
from ...models.student.config import StudentConfig
from ...models.wan.decoder import WanDecoder
from .clock import Clock
from .random_students import KINDS, Kind, pocket_conditions, random_student, random_text

_STEPS = (1000, 750, 500, 250)


@dataclass(frozen=True, slots=True)
class Size:
    """Latents of a frame, and the student's layers and width if not the published ones."""

    rows: int = 60
    columns: int = 104
    layers: int = 30
    dim: int | None = None
    dtype: torch.dtype = torch.bfloat16

    def of(self, config: StudentConfig) -> StudentConfig:
        """`config` at this size."""
        config = replace(config, num_layers=self.layers)
        if self.dim is None:
            return config
        small = replace(config, dim=self.dim, ffn_dim=2 * self.dim, num_heads=2)
        return replace(small, text_dim=32, text_len=16)


def model_times(
    size: Size, clock: Clock, say: Callable[[str], None], *, on_gpu: bool = True
) -> dict[str, Any]:
    """The report; not `on_gpu`, what a CPU would take too long for is left out."""
    report: dict[str, Any] = {"student": {}, "student_host": {}, "decoder": {}}
    for name, kind in KINDS.items():
        student = random_student(size.of(kind.student), clock.device).to(size.dtype)
        backends: dict[str, AbstractContextManager[object]] = {"dispatch": nullcontext()}
        if on_gpu:
            backends["triton"] = use_backend("triton")
        backends["torch"] = use_backend("sdpa")
        report["student"][name] = {}
        for backend, context in backends.items():
            say(f"student, {name}, {backend}")
            with context:
                times = student_times(student, kind, size, clock)
            report["student"][name][backend] = times
        say(f"student's host, {name}")
        # So few tokens that the device never keeps the host waiting.
        tiny = replace(size, rows=4, columns=4)
        report["student_host"][name] = student_times(student, kind, tiny, clock)
        del student
    for dtype in (size.dtype, torch.float16) if on_gpu else (size.dtype,):
        say(f"decoder, {dtype}")
        kind = str(dtype).removeprefix("torch.")
        report["decoder"][kind] = decoder_times(size, dtype, clock)
    say("pocket student")
    report["pocket"] = pocket_times(clock)
    return report


def student_times(student: CausalStudent, kind: Kind, size: Size, clock: Clock) -> dict[str, Any]:
    """One chunk of three latents: four steps and the clean pass, behind a full window."""
    device = clock.device
    context = random_text(student)
    cache = student.new_cache(kind.cache, height=size.rows, width=size.columns)
    shape = (1, 3, student.config.in_channels, size.rows, size.columns)
    noise = torch.randn(shape, device=device).to(size.dtype)
    schedule = FlowSchedule()
    steps = schedule.warp(_STEPS)
    chunk = partial(denoise_chunk, student, cache, noise, steps, context, schedule=schedule)
    # Until the window has wrapped and every variant is compiled.
    for _ in range(5):
        chunk()
    return _with_memory(device, partial(clock.apart, chunk))


@torch.no_grad()
def decoder_times(size: Size, dtype: torch.dtype, clock: Clock) -> dict[str, Any]:
    """Three latents, twelve frames, in the middle of a stream."""
    with torch.device(clock.device):
        decoder = WanDecoder().eval().requires_grad_(False).to(dtype)
    latents = torch.randn(1, 3, 16, size.rows, size.columns, device=clock.device).to(dtype)
    memory: dict[str, Tensor] = {}
    return _with_memory(clock.device, partial(clock.apart, partial(decoder, latents, memory)))


def pocket_times(clock: Clock) -> dict[str, Any]:
    """One chunk of the pocket student in float32: two steps, each with its cache."""
    student = random_student(POCKET, clock.device)
    assert POCKET.grid is not None
    rows, columns = POCKET.grid
    caches = [student.new_cache(POCKET_CACHE, height=rows, width=columns) for _ in POCKET_STEPS]
    noise = torch.randn(1, 1, POCKET.in_channels, rows, columns, device=clock.device)
    chunk = partial(
        denoise_chunk, student, caches, noise, POCKET_STEPS, random_text(student),
        pocket_conditions(1, clock.device), schedule=FlowSchedule(1.0),
    )  # fmt: skip
    for _ in range(8):
        chunk()
    return _with_memory(clock.device, partial(clock.apart, chunk))


def _with_memory(device: torch.device, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The report of `measure` and the most memory that was in use meanwhile."""
    if device.type != "cuda":
        return measure()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    report = measure()
    return report | {"peak_gb": torch.cuda.max_memory_allocated(device) / 1e9}
