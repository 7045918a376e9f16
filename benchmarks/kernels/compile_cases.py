"""Which kernels are compiled ahead of time, without a GPU, and in which configurations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import triton

from ...kernels.counter_noise.counter_noise import counter_noise_kernel
from ...kernels.ema_sink.ema_sink import ema_sink_kernel
from ...kernels.key_rotation.key_rotation import key_rotation_kernel
from ...kernels.modulation.modulation import modulate_kernel
from ...kernels.norm_rope_write.norm_rope_write import norm_rope_write_kernel
from ...kernels.norm_silu.norm_silu import norm_silu_kernel
from ...kernels.norm_silu.sum_norm_silu import sum_norm_silu_kernel
from ...kernels.residual_norm.residual_norm import residual_norm_kernel
from ...kernels.rms_norm.rms_norm import rms_norm_kernel
from ...kernels.row_scale.reference import E4M3_MOST, SMALLEST
from ...kernels.row_scale.row_scale import row_scale_kernel
from ...kernels.yuv420.yuv420 import yuv420_kernel
from .attention_cases import attention_cases
from .compile_case import ALL_TARGETS, CompileCase

_WRITES = tuple(f"{part}{index}" for part in ("source", "slot", "frames") for index in range(3))


def compile_cases() -> tuple[CompileCase, ...]:
    """Every case, one group per kernel."""
    return (
        *attention_cases(),
        _counter_noise(),
        _ema_sink(),
        _key_rotation(),
        _modulation(),
        _norm_rope_write(),
        _norm_silu(),
        _sum_norm_silu(),
        _residual_norm(),
        _rms_norm(),
        _row_scale("row-scale-1536", 1536, warps=4, gelu=False),
        _row_scale("row-scale-gelu-8960", 8960, warps=8, gelu=True),
        _yuv420(),
    )


def _counter_noise() -> CompileCase:
    return _pass_over_tokens(
        "counter-noise",
        counter_noise_kernel,
        pointers={"Out": "*bf16", "Table": "*i32"},
        strides=(),
        scalars=dict.fromkeys(("key_low", "key_high", "stream", "count"), "i32"),
        constants={"BLOCK": 256},
    )


def _ema_sink() -> CompileCase:
    """In place, in the caches of Wan 1.3B."""
    pointers: dict[str, str] = dict.fromkeys(("Key", "Value", "NewKey", "NewValue"), "*bf16")
    new = (f"{part}_{axis}" for part in ("key", "value") for axis in "bhn")
    return _pass_over_tokens(
        "ema-sink-shadow",
        ema_sink_kernel,
        pointers=pointers | {"ShadowKey": "*fp32", "ShadowValue": "*fp32"},
        strides=("cache_b", "cache_h", "shadow_b", "shadow_h", *new),
        scalars={"alpha": "fp32", "beta": "fp32"}
        | dict.fromkeys(("folds", "gone", "place", "sinks", "window", *_WRITES), "i32"),
        constants={
            "HEADS": 12, "DIM": 128, "BLOCK_D": 128, "BLOCK_T": 16, "FRAME_TOKENS": 1560,
            "SHADOW": True,
        },
    )  # fmt: skip


def _key_rotation() -> CompileCase:
    counters = ("slots", "end0", "end1", "shift0", "shift1", "shift2")
    return _pass_over_tokens(
        "key-rotation-128",
        key_rotation_kernel,
        pointers={"Key": "*bf16", "Out": "*bf16", "Cos": "*fp32", "Sin": "*fp32"},
        strides=(f"{part}_{axis}" for part in ("key", "out") for axis in "bhn"),
        scalars=dict.fromkeys(counters, "i32"),
        constants={
            "HEADS": 12, "DIM": 128, "BLOCK_D": 128, "BLOCK_T": 32, "FRAME_TOKENS": 1560,
            "COLUMNS": 52, "FRAME_PAIRS": 22, "GRID_PAIRS": 21,
        },
    )  # fmt: skip


def _modulation() -> CompileCase:
    return _pass_over_tokens(
        "modulate-1536",
        modulate_kernel,
        pointers=dict.fromkeys(("X", "Shift", "Scale", "Out"), "*bf16"),
        strides=("x_b", "x_n", "shift_b", "shift_f", "scale_b", "scale_f", "out_b", "out_n"),
        scalars={"tokens": "i32", "eps": "fp32"},
        constants={"FRAME_TOKENS": 1560, "WIDTH": 1536, "BLOCK_W": 2048, "BLOCK_T": 1},
    )


def _norm_rope_write() -> CompileCase:
    plain = (
        "Query",
        "Key",
        "Value",
        "WeightQ",
        "WeightK",
        "Out",
        "CacheKey",
        "CacheValue",
        "TurnedKey",
    )
    rows = (f"{part}_{axis}" for part in ("query", "key", "value", "out") for axis in "bn")
    return _pass_over_tokens(
        "norm-rope-write-1536",
        norm_rope_write_kernel,
        pointers=dict.fromkeys(plain, "*bf16") | {"Cos": "*fp32", "Sin": "*fp32"},
        strides=(*rows, "cache_b", "cache_h"),
        scalars={"eps": "fp32"} | dict.fromkeys(("tokens", "place", *_WRITES), "i32"),
        constants={
            "HEADS": 12, "BLOCK_H": 16, "DIM": 128, "BLOCK_D": 128, "BLOCK_T": 1,
            "FRAME_TOKENS": 1560, "COLUMNS": 52, "FRAME_PAIRS": 22, "GRID_PAIRS": 21,
            "ROTATE_KEY": True, "TURNED": False,
        },
    )  # fmt: skip


def _norm_silu() -> CompileCase:
    """Channels last, at the VAE's full size."""
    return _pass_over_tokens(
        "norm-silu-96",
        norm_silu_kernel,
        pointers=dict.fromkeys(("X", "Weight", "Out"), "*bf16"),
        strides=(f"{part}_{axis}" for part in ("x", "out") for axis in "btp"),
        scalars={"pixels": "i32"},
        constants={"CHANNELS": 96, "BLOCK_C": 128, "BLOCK_P": 32, "x_c": 1, "out_c": 1},
    )


def _sum_norm_silu() -> CompileCase:
    """Likewise."""
    ones = dict.fromkeys(("x_c", "branch_c", "out_c"), 1)
    return _pass_over_tokens(
        "sum-norm-silu-96",
        sum_norm_silu_kernel,
        pointers=dict.fromkeys(("X", "Branch", "Weight", "Sum", "Out"), "*bf16"),
        strides=(f"{part}_{axis}" for part in ("x", "branch", "out") for axis in "btp"),
        scalars={"pixels": "i32"},
        constants={"CHANNELS": 96, "BLOCK_C": 128, "BLOCK_P": 32, **ones},
    )


def _residual_norm() -> CompileCase:
    parts = ("x", "branch", "gate", "shift", "scale", "out")
    strides = [f"{part}_b" for part in parts]
    strides += [f"{part}_{'f' if part in ('gate', 'shift', 'scale') else 'n'}" for part in parts]
    return _pass_over_tokens(
        "residual-norm-1536",
        residual_norm_kernel,
        pointers=dict.fromkeys(("X", "Branch", "Gate", "Shift", "Scale", "Sum", "Out"), "*bf16"),
        strides=strides,
        scalars={"tokens": "i32", "eps": "fp32"},
        constants={
            "FRAME_TOKENS": 1560, "WIDTH": 1536, "BLOCK_W": 2048, "BLOCK_T": 1, "GATED": True,
            "AFFINE": False,
        },
    )  # fmt: skip


def _rms_norm() -> CompileCase:
    return _pass_over_tokens(
        "rms-norm-1536",
        rms_norm_kernel,
        pointers=dict.fromkeys(("X", "Weight", "Out"), "*bf16"),
        strides=("x_b", "x_n", "out_b", "out_n"),
        scalars={"tokens": "i32", "eps": "fp32"},
        constants={"WIDTH": 1536, "BLOCK_W": 2048, "BLOCK_T": 1},
    )


def _row_scale(name: str, width: int, *, warps: int, gelu: bool) -> CompileCase:
    case = _pass_over_tokens(
        name,
        row_scale_kernel,
        pointers={"X": "*bf16", "Out": "*fp8e4nv", "Scale": "*fp32"},
        strides=("x_n",),
        scalars={"rows": "i32"},
        constants={
            "WIDTH": width, "BLOCK_W": triton.next_power_of_2(width), "BLOCK_T": 1,
            "MOST": E4M3_MOST, "SMALLEST": SMALLEST, "GELU": gelu,
        },
    )  # fmt: skip
    # float8 came with 8.9
    newer = tuple(target for target in ALL_TARGETS if target > 80)
    return replace(case, num_warps=warps, targets=newer, chosen=newer)


def _yuv420() -> CompileCase:
    return _pass_over_tokens(
        "yuv420",
        yuv420_kernel,
        pointers={"X": "*bf16", "Out": "*u8"},
        strides=("x_t", "x_h", "out_t", "out_h"),
        scalars=dict.fromkeys(("height", "width", "x_w"), "i32"),
        constants={"BLOCK": 128, "x_c": 1},
    )


def _pass_over_tokens(
    name: str,
    kernel: Any,
    *,
    pointers: dict[str, str],
    strides: Iterable[str],
    scalars: dict[str, str],
    constants: dict[str, Any],
) -> CompileCase:
    """A kernel that reads and writes tokens once, without matrix products."""
    integers = dict.fromkeys(strides, "i32")
    return CompileCase(
        name=name,
        kernel=kernel,
        signature=pointers | scalars | integers,
        constants=constants,
        aligned=(*pointers, *integers),
        num_warps=4,
        num_stages=2,
        main_loop_mma=False,
        chosen=ALL_TARGETS,
    )
