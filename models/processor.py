"""The processor of this machine, as the system tells it; no torch."""

from __future__ import annotations

import platform
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")
# those that what a model makes, and how fast, depends on; the last two are ARM's
_INSTRUCTIONS = (
    "avx2",
    "fma",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
    "asimd",
    "sve",
)


def processor_name(told: Path = CPU_INFO) -> str:
    """Its name."""
    lines = told.read_text().splitlines() if told.exists() else []
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def instructions(told: Path = CPU_INFO) -> tuple[str, ...]:
    """Those it has of the instructions that matter here; none where the system does not tell."""
    words = set(told.read_text().split()) if told.exists() else set[str]()
    return tuple(name for name in _INSTRUCTIONS if name in words)
