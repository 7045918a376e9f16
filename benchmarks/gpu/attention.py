"""Step 3: attention by all who can, dense and thin, at the shapes of three models."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import flex_attention

from ...kernels.dense_attention.providers import Provider, attention_by, installed
from .bench import Bench
from .kernel_times import Shape, drawn_inputs, pass_times, rated, raw_times, sparse_times

_TUNED = {"PRESCALE_QK": True, "ROWS_GUARANTEED_SAFE": True, "BLOCKS_ARE_CONTIGUOUS": True}
MODELS = {
    "1.3B, 480x832": Shape(),
    "5B, 704x1280": Shape(rows=22, columns=40, heads=24),
    "14B, 480x832": Shape(heads=40),
}
Rival = Callable[[Tensor, Tensor, Tensor], object]


def run(bench: Bench) -> None:
    """Inputs take turns, so that none is in a cache from the call before; rivals alternate."""
    small = Shape(rows=2, columns=6, heads=1, dim=32, text=8, dtype=torch.float16)
    shapes = {"1.3B, 480x832": small} if bench.rehearse else MODELS
    first = next(iter(shapes.values()))
    with torch.inference_mode():
        for name, shape in shapes.items():
            for keys in (9 * shape.tokens, 12 * shape.tokens, shape.text):
                what = f"{name}, {3 * shape.tokens} x {keys}"
                bench.part(what, partial(_race, bench, shape, keys, _rivals(bench)))
        bench.part("sparse", lambda: sparse_times(first, bench.clock(20)))
        bench.part("raw keys", lambda: raw_times(first, bench.clock(20)))
        bench.part("passes", lambda: pass_times(first, bench.clock(20)))
        # it compiles for long, so it comes last
        flex = _rivals(bench, only=("cudnn", "triton")) | _flex_rivals(bench)
        bench.part("FlexAttention", lambda: _race(bench, first, 9 * first.tokens, flex))


def _race(bench: Bench, shape: Shape, keys: int, rivals: dict[str, Rival]) -> dict[str, Any]:
    clock = bench.clock(20)
    inputs = drawn_inputs(shape, clock, 3 * shape.tokens, keys)
    report: dict[str, Any] = {}
    calls: dict[str, list[Callable[[], object]]] = {}
    for name, rival in rivals.items():
        each = [partial(rival, *one) for one in inputs]
        try:
            each[0]()
        except Exception as error:
            # Who has no kernel for this says so in its own way, and that is the result.
            report[name] = {"error": f"{type(error).__name__}: {str(error)[:160]}"}
        else:
            calls[name] = list(each)
    flops = 4 * 3 * shape.tokens * keys * shape.width
    raced = clock.race(calls)
    return report | {name: rated(times, flops=flops) for name, times in raced.items()}


def _rivals(bench: Bench, *, only: tuple[Provider, ...] = ()) -> dict[str, Rival]:
    """Every provider that is installed, and FlashAttention 2 by torch."""
    # its operators are for GPUs, and importing it takes seconds
    names: tuple[Provider, ...] = only or installed()
    found: dict[str, Rival] = {
        name: partial(attention_by, name)
        for name in names
        if name != "xformers" or not bench.rehearse
    }
    return found if only else found | {"flash 2": _flash2}


def _flash2(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        return F.scaled_dot_product_attention(query, key, value)


def _flex_rivals(bench: Bench) -> dict[str, Rival]:
    """With its own choices, and with the options that its documentation has for full blocks."""
    compiled: Any = (
        flex_attention if bench.rehearse else torch.compile(flex_attention, dynamic=False)
    )

    def by(options: dict[str, Any] | None, *inputs: Tensor) -> object:
        return compiled(*inputs, kernel_options=options)

    plain: Rival = partial(by, None)
    return {"flex": plain, "flex, tuned": partial(by, _TUNED)}
