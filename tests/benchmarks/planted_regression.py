"""Compiles an attention loop as it should be and with a branch around its products, for sm_90.

A program of its own, because Triton decides when it is imported whether it compiles or interprets.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import triton
import triton.language as tl

from rollcast.benchmarks.compile_ahead import compile_row
from rollcast.kernels.compile_case import CompileCase
from rollcast.kernels.online_softmax import online_softmax_end, online_softmax_step


@triton.jit
def planted_kernel(Query, Key, Value, Out, scale_log2, keys, extra, BRANCH: tl.constexpr):
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
    for tile in range(extra):
        if BRANCH:
            if keys > tile * 7:
                key = tl.load(Key + at + tile * 128 * 128)
                value = tl.load(Value + at + tile * 128 * 128)
                mixed, peak, total = online_softmax_step(
                    query, key, value, row, mixed, peak, total, scale_log2, False
                )
        else:
            key = tl.load(Key + at + tile * 128 * 128)
            value = tl.load(Value + at + tile * 128 * 128)
            mixed, peak, total = online_softmax_step(
                query, key, value, row, mixed, peak, total, scale_log2, False
            )
    attention, _ = online_softmax_end(mixed, peak, total)
    tl.store(Out + at, attention.to(Out.dtype.element_ty))


def case(branch: bool) -> CompileCase:
    pointers: dict[str, str] = dict.fromkeys(("Query", "Key", "Value", "Out"), "*bf16")
    kernel: Any = planted_kernel
    return CompileCase(
        name="planted",
        kernel=kernel,
        signature=pointers | {"scale_log2": "fp32", "keys": "i32", "extra": "i32"},
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
