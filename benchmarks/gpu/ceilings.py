"""Step 0: what the card reaches at most, on plain products and plain copies."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .bench import Bench
from .step_process import NotHere


def run(bench: Bench) -> None:
    """Products in each type, and copies on the device and to and from the host."""
    size = 64 if bench.rehearse else 8192
    for dtype in (torch.bfloat16, torch.float16):
        name = f"product, {str(dtype).removeprefix('torch.')}"
        bench.part(name, lambda dtype=dtype: _product(bench, size, dtype))
    bench.part("product, float8", lambda: _float8(bench, size))
    bench.part("copies", lambda: _copies(bench, size))


def _product(bench: Bench, size: int, dtype: torch.dtype) -> dict[str, Any]:
    a, b = (torch.randn(size, size, device=bench.device).to(dtype) for _ in range(2))
    times = bench.clock(20).spread([lambda: a @ b])
    return {"ms": times, "tflops": 2 * size**3 / times["median"] / 1e9}


def _float8(bench: Bench, size: int) -> dict[str, Any]:
    if not bench.on_gpu:
        raise NotHere("needs a GPU")
    if torch.cuda.get_device_capability(bench.device) < (8, 9):
        raise NotHere("needs sm_89")
    a, b = (torch.randn(size, size, device=bench.device).to(torch.float8_e4m3fn) for _ in range(2))
    rows, columns = (torch.ones(shape, device=bench.device) for shape in ((size, 1), (1, size)))

    def product() -> Tensor:
        return torch.ops.aten._scaled_mm(a, b.t(), rows, columns, None, None, torch.bfloat16)

    times = bench.clock(20).spread([product])
    return {"ms": times, "tflops": 2 * size**3 / times["median"] / 1e9}


def _copies(bench: Bench, size: int) -> dict[str, Any]:
    """GB a second; what a copy on the device reads and what it writes both count."""
    source = torch.randn(size, 2 * size, device=bench.device)
    target = torch.empty_like(source)
    host = torch.empty(source.shape, pin_memory=bench.on_gpu)
    moved = source.numel() * source.element_size()
    rows = {
        "on the device": (2 * moved, lambda: target.copy_(source)),
        "to the host": (moved, lambda: host.copy_(source, non_blocking=True)),
        "from the host": (moved, lambda: target.copy_(host, non_blocking=True)),
    }
    found: dict[str, Any] = {}
    for name, (each, copy) in rows.items():
        times = bench.clock(10).spread([copy])
        found[name] = {"ms": times, "gb_per_s": each / times["median"] / 1e6}
    return found
