"""What this machine can run, found by trying: interpreter, torch, encoders, models."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from statistics import median
from time import perf_counter
from typing import Any, Literal

import numpy as np

from ...models.contract import Model
from ...models.devices import attention_there, device_named
from ...models.registry import load_model, own_models
from ...models.warm_up import first_request, usual_controls
from ..media.encoder import Encoders
from .gpu_outlook import outlooks

Status = Literal["ok", "note", "problem"]
OLDEST_PYTHON = (3, 11)
WARM_UP_STEPS = 3
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at; `hint` says what to do about a note or a problem."""

    name: str
    status: Status
    detail: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Speed:
    """How a model runs here: median and 95th percentile of a step, and what follows."""

    model: str
    step_ms_p50: float
    step_ms_p95: float
    chunk_ms: float
    fps_native: float

    @property
    def fps_expected(self) -> float:
        """Frames per second that the model alone reaches."""
        return self.fps_native * self.chunk_ms / self.step_ms_p50

    @property
    def sessions(self) -> int:
        """Streams in real time side by side, with some room for encoding."""
        return int(0.85 * self.chunk_ms / self.step_ms_p95)


def look_at_machine(device: str | None = None, dtype: str | None = None) -> Iterator[Finding]:
    """Everything but the models, quickly; of GPUs only `device`, if one is named.

    What published models need there is for numbers of `dtype`. Raises ValueError for a device that
    is not here.
    """
    yield _python()
    yield Finding("system", "ok", f"{platform.platform()}, {_processor()}")
    yield from _torch(device, dtype)
    yield _encoders()
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser:
        yield Finding("chromium", "ok", browser)
    else:
        yield Finding("chromium", "note", "not found", "Only the browser tests need it: make test.")


def machine_report() -> dict[str, Any]:
    """What `look_at_machine` finds, JSON-able."""
    return {"findings": [asdict(finding) for finding in look_at_machine()]}


def measure_models(threads: int | None, measure_s: float) -> Iterator[Finding | Speed]:
    """The speed of each model that the project brings, measured for so long, or why it fails."""
    for name in own_models():
        try:
            yield _speed(name, load_model(name, threads=threads), measure_s)
        except (OSError, ValueError, KeyError) as error:
            yield Finding(
                f"model {name}",
                "problem",
                str(error),
                "Install again (`make serve` does it); docs/models.md tells of the weights.",
            )


def _python() -> Finding:
    found = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info < OLDEST_PYTHON:
        return Finding("python", "problem", found, "Install Python 3.11 or newer.")
    return Finding("python", "ok", found)


def _processor() -> str:
    memory = ""
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        memory = f", {total / 2**30:.0f} GiB memory"
    return f"{platform.machine()}, {usable_cpus()} of {os.cpu_count()} processors{memory}"


def usable_cpus() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _torch(device: str | None, dtype: str | None) -> Iterator[Finding]:
    import torch

    asked = device_named(device)
    capability = torch.backends.cpu.get_cpu_capability()
    yield Finding(
        "torch", "ok", f"{torch.__version__}, CPU {capability}, {torch.get_num_threads()} threads"
    )
    if not torch.cuda.is_available():
        yield Finding("gpu", "note", "no CUDA device", "The embedded model runs on the CPU.")
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        if device in (None, "auto", "cuda") or asked == torch.device("cuda", index):
            yield _gpu(index)
            yield _gpu_outlook(index, dtype)


def _gpu(index: int) -> Finding:
    """One GPU, by the name that `--device` has for it, and who computes attention there."""
    import torch

    free, whole = torch.cuda.mem_get_info(index)
    capability = torch.cuda.get_device_capability(index)
    provider = attention_there(capability)
    found = (
        f"cuda:{index} {torch.cuda.get_device_name(index)}, {whole / 2**30:.0f} GiB, "
        f"{free / 2**30:.0f} free, sm_{capability[0]}{capability[1]}; bfloat16 attention by "
        f"{provider}"
    )
    if capability < (8, 0):
        return Finding("gpu", "note", found, "It is too old for published models: they need sm_80.")
    if provider == "sdpa":
        return Finding("gpu", "note", found, "Install Triton: passes over tokens are far slower.")
    return Finding("gpu", "ok", found)


def _gpu_outlook(index: int, dtype: str | None) -> Finding:
    """What published models are expected to do on a GPU."""
    import torch

    about: Any = torch.cuda.get_device_properties(index)
    clock_khz = getattr(about, "clock_rate", None)
    name = f"cuda:{index} by estimate"
    try:
        found = outlooks(
            torch.cuda.mem_get_info(index)[0],
            (about.major, about.minor),
            clock_hz=None if clock_khz is None else 1e3 * clock_khz,
            multiprocessors=about.multi_processor_count,
            dtype=dtype,
        )
    except ValueError as error:
        return Finding(name, "note", str(error))
    return Finding(name, "ok", "; ".join(map(str, found)))


def _encoders() -> Finding:
    encoders = Encoders()
    opened = ", ".join(encoders.codecs)
    if not encoders.h264_backends:
        return Finding(
            "encoders", "note", opened, "No H.264: streams are sent as VP8 or JPEG instead."
        )
    first, *others = encoders.h264_backends
    spare = f", or {others[0]} where that fails" if others else ""
    return Finding("encoders", "ok", f"{opened}; h264 by {first}{spare}")


def _speed(name: str, model: Model, measure_s: float) -> Speed:
    info = model.info
    state, usual = model.start(first_request(info)), usual_controls(info)
    for _ in range(WARM_UP_STEPS):
        model.step(state, usual)
    times_ms: list[float] = []
    end_s = perf_counter() + measure_s
    while perf_counter() < end_s and len(times_ms) < 200:
        start_s = perf_counter()
        model.step(state, usual)
        times_ms.append(1e3 * (perf_counter() - start_s))
    p95_ms = float(np.percentile(times_ms, 95))
    return Speed(name, median(times_ms), p95_ms, info.chunk_us / 1e3, info.fps)
