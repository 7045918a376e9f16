"""Which kernels are compiled ahead of time, without a GPU, and in which configurations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .ema_sink import ema_sink_kernel
from .modulation import modulate_kernel
from .norm_rope_write import norm_rope_write_kernel
from .ring_attention import ring_attention_kernel

ALL_TARGETS = (80, 90, 100, 120)
_WRITES = tuple(f"{part}{index}" for part in ("source", "slot", "frames") for index in range(3))


@dataclass(frozen=True, slots=True)
class CompileCase:
    """One kernel with one set of types and constants.

    `signature` gives the Triton type of every argument that is not in `constants`; `aligned` names
    those that the launcher would find divisible by 16. `main_loop_mma`: its longest loop must use
    the tensor cores. `targets` are the compute capabilities whose shared memory it fits.
    """

    name: str
    kernel: Any
    signature: dict[str, str]
    constants: dict[str, Any]
    aligned: tuple[str, ...]
    num_warps: int
    num_stages: int
    main_loop_mma: bool
    targets: tuple[int, ...] = ALL_TARGETS


def compile_cases() -> tuple[CompileCase, ...]:
    """Every case, one group per kernel."""
    return (*_ring_attention_cases(), _ema_sink(), _modulation(), _norm_rope_write())


def _ring_attention_cases() -> tuple[CompileCase, ...]:
    """Tiles of `tiles.attention_tile` and their rivals, on Wan's heads and frames at 480x832."""
    big = (80, 90, 100)
    return (
        _ring_attention("ring-128x128", 128, 128, 128, 8, 2, targets=big),
        _ring_attention("ring-128x64", 128, 128, 64, 8, 2, targets=big),
        _ring_attention("ring-128x64-s3", 128, 128, 64, 8, 3, targets=big),
        _ring_attention("ring-128x32", 128, 128, 32, 8, 2),
        _ring_attention("ring-tma-128x128", 128, 128, 128, 8, 2, tma=True, targets=(90, 100)),
        _ring_attention("ring-tma-128x64-s3", 128, 128, 64, 8, 3, tma=True, targets=(90, 100)),
        _ring_attention("ring-rotate-128x64", 128, 128, 64, 8, 2, rotate=True, targets=big),
        _ring_attention("ring-rotate-128x32", 128, 128, 32, 8, 2, rotate=True),
        _ring_attention("ring-d64-128x128", 64, 128, 128, 8, 2),
        _ring_attention("ring-d96-128x64", 96, 128, 64, 8, 2, targets=big),
    )


def _ring_attention(
    name: str,
    dim: int,
    queries: int,
    keys: int,
    warps: int,
    stages: int,
    *,
    tma: bool = False,
    rotate: bool = False,
    targets: tuple[int, ...] = ALL_TARGETS,
) -> CompileCase:
    block_d = 128 if dim == 96 else dim
    rows = f"tensordesc<bf16[{keys},{block_d}]>" if tma else "*bf16"
    pointers = {"Query": "*bf16", "Key": rows, "Value": rows, "Out": "*bf16"}
    tables = {"Lse": "*fp32", "Cos": "*fp32", "Sin": "*fp32"}
    spans = {f"{part}{index}": "i32" for part in ("start", "tokens", "place") for index in range(3)}
    strides = {
        f"{part}_{axis}": "i32" for part in ("query", "key", "value", "out") for axis in "bhn"
    }
    plain = [argument for argument in pointers if not pointers[argument].startswith("tensordesc")]
    return CompileCase(
        name=name,
        kernel=ring_attention_kernel,
        signature={
            **pointers, **tables, "scale_log2": "fp32", "queries": "i32", "slots": "i32",
            **spans, **strides,
        },
        constants={
            "HEADS": 12, "GROUP": 1, "DIM": dim, "BLOCK_D": block_d, "BLOCK_M": queries,
            "BLOCK_N": keys, "DESCRIPTORS": tma, "ROTATE": rotate, "FRAME_TOKENS": 1560,
            "COLUMNS": 52, "FRAME_PAIRS": dim // 2 - 2 * (dim // 6), "GRID_PAIRS": dim // 6,
        },
        aligned=(*plain, *tables, *strides),
        num_warps=warps,
        num_stages=stages,
        main_loop_mma=True,
        targets=targets,
    )  # fmt: skip


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
    plain = ("Query", "Key", "Value", "WeightQ", "WeightK", "Out", "CacheKey", "CacheValue")
    rows = (f"{part}_{axis}" for part in ("query", "key", "value", "out") for axis in "bn")
    return _pass_over_tokens(
        "norm-rope-write-1536",
        norm_rope_write_kernel,
        pointers=dict.fromkeys(plain, "*bf16") | {"Cos": "*fp32", "Sin": "*fp32"},
        strides=(*rows, "cache_b", "cache_h"),
        scalars={"eps": "fp32"} | dict.fromkeys(("place", *_WRITES), "i32"),
        constants={
            "HEADS": 12, "BLOCK_H": 16, "DIM": 128, "BLOCK_D": 128, "FRAME_TOKENS": 1560,
            "COLUMNS": 52, "FRAME_PAIRS": 22, "GRID_PAIRS": 21, "ROTATE_KEY": True,
        },
    )  # fmt: skip


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
    )
