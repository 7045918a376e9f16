"""What is compiled while something runs: in the middle of a stream that must be nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch._dynamo.utils import counters


@contextmanager
def watch_compiles() -> Iterator[list[str]]:
    """The list grows by each variant of a kernel that Triton compiles or loads, and by each graph
    that torch.compile captures."""
    found: list[str] = []
    graphs = counters["stats"]["unique_graphs"]
    knobs = _triton_knobs()
    before = None if knobs is None else knobs.runtime.jit_post_compile_hook
    if knobs is not None:
        knobs.runtime.jit_post_compile_hook = lambda **told: found.append(_name(told))
    try:
        yield found
    finally:
        if knobs is not None:
            knobs.runtime.jit_post_compile_hook = before
        found += ["torch.compile"] * (counters["stats"]["unique_graphs"] - graphs)


def _triton_knobs() -> Any:
    try:
        from triton import knobs
    except ImportError:
        return None
    return knobs


def _name(told: dict[str, Any]) -> str:
    return str(told.get("repr", "a kernel"))[:80]


def wall_ms(begun: float) -> float:
    """Milliseconds since then, by `time.perf_counter`."""
    return 1e3 * (time.perf_counter() - begun)
