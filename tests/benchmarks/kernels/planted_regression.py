"""Compiles an attention loop as it should be and with a branch around its products, for sm_90.

A program of its own, because Triton decides when it is imported whether it compiles or interprets.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import triton
import triton.language as tl

from rollcast.benchmarks.kernels.compile_ahead import compile_row
from rollcast.benchmarks.kernels.compile_case import CompileCase
from rollcast.kernels.tile.online_softmax import dead_bias, online_softmax_end, online_softmax_step


@triton.jit
def planted_kernel(Query, Key, Value, Out, scale_log2, keys, others, BRANCH: tl.constexpr):
    """Whole tiles, then ragged ends: each behind a branch, or in a loop of as many as there are."""
    row = tl.arange(0, 128)
    at = row[:, None] * 128 + tl.arange(0, 128)[None, :]
    query = tl.load(Query + at)
    mixed = tl.zeros([128, 128], dtype=tl.float32)
    peak = tl.full([128], float("-inf"), dtype=tl.float32)
    total = tl.zeros([128, 8], dtype=tl.float32)
    for tile in range(keys // 128):
        key = tl.load(Key + at + tile * 128 * 128)
        value = tl.load(Value + at + tile * 128 * 128)
        mixed, peak, total = online_softmax_step(
            query, key, value, row, mixed, peak, total, scale_log2, False
        )
    if BRANCH:
        for end in range(3):
            rest = tl.where(end == 0, keys % 128, others * end)
            live = row < rest
            if rest > 0:
                key = tl.load(Key + at + keys * 128 * end, mask=live[:, None], other=0.0)
                value = tl.load(Value + at + keys * 128 * end, mask=live[:, None], other=0.0)
                mixed, peak, total = online_softmax_step(
                    query, key, value, dead_bias(live), mixed, peak, total, scale_log2, True
                )
    else:
        live = row < keys % 128
        for _ in range(tl.where(keys % 128 > 0, 1, 0)):
            key = tl.load(Key + at + keys * 128, mask=live[:, None], other=0.0)
            value = tl.load(Value + at + keys * 128, mask=live[:, None], other=0.0)
            mixed, peak, total = online_softmax_step(
                query, key, value, dead_bias(live), mixed, peak, total, scale_log2, True
            )
    attention, _ = online_softmax_end(mixed, peak, total)
    tl.store(Out + at, attention.to(Out.dtype.element_ty))


def case(branch: bool) -> CompileCase:
    pointers: dict[str, str] = dict.fromkeys(("Query", "Key", "Value", "Out"), "*bf16")
    kernel: Any = planted_kernel
    return CompileCase(
        name="planted",
        kernel=kernel,
        signature=pointers | {"scale_log2": "fp32", "keys": "i32", "others": "i32"},
        constants={"BRANCH": branch},
        aligned=tuple(pointers),
        num_warps=8,
        num_stages=2,
        main_loop_mma=True,
        targets=(90,),
    )


if __name__ == "__main__":
    for branch in (False, True):
        sys.stdout.write(json.dumps(compile_row(case(branch), 90)) + "\n")
