"""Compile cases of the attention kernels: tiles of `tile_sizes` and their rivals, Wan's heads."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ...kernels.block_sparse.block_pool import block_pool_kernel
from ...kernels.block_sparse.block_sparse import block_sparse_kernel
from ...kernels.block_sparse.select_blocks import block_select_kernel
from ...kernels.int8_attention.int8_attention import int8_attention_kernel, int8_keys_kernel
from ...kernels.int8_attention.reference import INT8_MOST, SMALLEST
from ...kernels.normed_attention.normed_attention import normed_attention_kernel
from ...kernels.ring_attention.ring_attention import ring_attention_kernel
from .compile_case import ALL_TARGETS, CompileCase

_BIG = (80, 90, 100)
_TMA = (90, 100)


def attention_cases() -> tuple[CompileCase, ...]:
    """Frames of 480x832, heads of 128 where the name does not say otherwise."""
    return (
        _ring("ring-128x128", 128, 128, 128, 8, 2, targets=(90,)),
        _ring("ring-128x64", 128, 128, 64, 8, 2, targets=_BIG, chosen=(80,)),
        _ring("ring-128x32", 128, 128, 32, 8, 2, chosen=(120,)),
        _ring("ring-tma-128x128", 128, 128, 128, 8, 2, tma=True, targets=(90,), chosen=(90,)),
        _ring("ring-tma-128x64", 128, 128, 64, 8, 2, tma=True, targets=_TMA),
        _ring("ring-tma-128x64-s3", 128, 128, 64, 8, 3, tma=True, targets=_TMA, chosen=(100,)),
        _ring("ring-d64-128x128", 64, 128, 128, 8, 2, targets=_BIG),
        _ring("ring-d96-128x64", 96, 128, 64, 8, 2, targets=_BIG),
        _ring("ring-fp32-32x32", 128, 32, 32, 4, 2, kind="fp32", chosen=ALL_TARGETS),
        _sparse("sparse-128x64", 128, 64, 8, targets=_BIG, chosen=(80,)),
        _sparse("sparse-128x32-of-64", 128, 32, 8, key_tiles=2, chosen=(120,)),
        _sparse(
            "sparse-32-of-64x64", 32, 64, 4, query_tiles=2, targets=(80, 120), chosen=(80, 120)
        ),
        _sparse("sparse-tma-128x128", 128, 128, 8, tma=True, targets=(90,), chosen=(90,)),
        _sparse("sparse-tma-128x64", 128, 64, 8, tma=True, targets=_TMA, chosen=_TMA),
        _sparse("sparse-tma-64x64", 64, 64, 4, tma=True, targets=_TMA, chosen=_TMA),
        _sparse("sparse-global-128x64", 128, 64, 8, rest=True, targets=(80,)),
        _sparse("sparse-tma-global-128x64", 128, 64, 8, tma=True, rest=True, targets=_TMA),
        _block_pool(),
        _block_select(),
        _normed("normed-128x64", 64, targets=(90,)),
        _normed("normed-128x32", 32, targets=(80, 100)),
        _normed("normed-128x16", 16, targets=(120,)),
        _int8_keys(),
        _int8("int8-64x64", 128, 64, targets=(80, 120)),
        _int8("int8-tma-128x64", 128, 128, tma=True, targets=_TMA),
        _int8("int8-d64-tma-128x64", 64, 128, tma=True, targets=_TMA),
    )


def _normed(name: str, keys: int, *, targets: tuple[int, ...]) -> CompileCase:
    """To a text, four heads of twelve at a time."""
    strides = ("key_b", "key_h", "key_n")
    pointers = dict.fromkeys(("Query", "Weight", "Key", "Value", "Out"), "*bf16")
    integers = dict.fromkeys(strides, "i32")
    return CompileCase(
        name=name,
        kernel=normed_attention_kernel,
        signature={
            **pointers, "scale_log2": "fp32", "eps": "fp32", "queries": "i32", "keys": "i32",
            **integers,
        },
        constants={
            "HEADS": 12, "GROUP": 4, "DIM": 128, "BLOCK_D": 128, "BLOCK_M": 128, "BLOCK_N": keys,
        },
        aligned=(*pointers, *integers),
        num_warps=8,
        num_stages=2,
        main_loop_mma=True,
        targets=targets,
        chosen=targets,
    )  # fmt: skip


def _block_pool() -> CompileCase:
    """Of keys and values of Wan 1.3B, blocks of 64."""
    counters = ("keys", "room", "start0", "start1", "start2", "end0", "end1")
    return _pass(
        "block-pool-64",
        block_pool_kernel,
        pointers=dict.fromkeys(("Key", "Value", "MeanKey", "MeanValue"), "*bf16"),
        scalars=dict.fromkeys(counters, "i32"),
        strides=("key", "value"),
        constants={"HEADS": 12, "DIM": 128, "BLOCK_N": 64, "BLOCK_C": 32, "VALUES": True},
    )


def _block_select() -> CompileCase:
    """Among the 293 blocks of twelve frames."""
    counters = (
        "queries", "keys", "query_blocks", "key_blocks", "room", "row_room", "fewest", "most",
    )  # fmt: skip
    pointers = {"Query": "*bf16", "MeanKey": "*bf16", "Mask": "*i1", "Bias": "*fp32"}
    return _pass(
        "block-select-512",
        block_select_kernel,
        pointers=pointers | dict.fromkeys(("Starts", "Ends", "Blocks"), "*i32"),
        scalars={"scale_log2": "fp32", "energy": "fp32", **dict.fromkeys(counters, "i32")},
        strides=("query",),
        constants={
            "HEADS": 12, "GROUP": 1, "DIM": 128, "QUERY_BLOCK": 128, "KEY_BLOCK": 64,
            "BLOCK_K": 512, "BLOCK_C": 16, "STEPS": 39, "BIASED": True,
        },
    )  # fmt: skip


def _int8_keys() -> CompileCase:
    return _pass(
        "int8-keys-128",
        int8_keys_kernel,
        pointers={"Key": "*bf16", "Mean": "*fp32", "Out": "*i8", "Scale": "*fp32"},
        scalars=dict.fromkeys(("keys", "blocks"), "i32"),
        strides=("key",),
        constants={
            "HEADS": 12, "DIM": 128, "BLOCK_D": 128, "BLOCK_N": 64, "MOST": INT8_MOST,
            "SMALLEST": SMALLEST,
        },
    )  # fmt: skip


def _int8(
    name: str, dim: int, queries: int, *, targets: tuple[int, ...], tma: bool = False
) -> CompileCase:
    case = _attention(
        name,
        int8_attention_kernel,
        _sizes(dim, queries, 64, tma=tma) | {"MOST": INT8_MOST, "SMALLEST": SMALLEST},
        pointers={"Scale": "*fp32"},
        scalars=dict.fromkeys(("queries", "keys", "blocks"), "i32"),
        warps=8 if tma else 4,
        stages=3 if tma else 2,
        targets=targets,
        chosen=targets,
    )
    keys = f"tensordesc<i8[64,{dim}]>" if tma else "*i8"
    taken = set(int8_attention_kernel.arg_names)
    # its keys are contiguous, and nothing is merged with other parts
    signature = {k: kind for k, kind in case.signature.items() if k in taken} | {"Key": keys}
    aligned = tuple(each for each in case.aligned if each in taken)
    return replace(case, signature=signature, aligned=aligned)


def _pass(
    name: str,
    kernel: Any,
    *,
    pointers: dict[str, str],
    scalars: dict[str, str],
    strides: tuple[str, ...],
    constants: dict[str, Any],
) -> CompileCase:
    """A kernel beside attention, without products; launched as Triton does by itself."""
    integers = {f"{part}_{axis}": "i32" for part in strides for axis in "bhn"}
    return CompileCase(
        name=name,
        kernel=kernel,
        signature={**pointers, **scalars, **integers},
        constants=constants,
        aligned=(*pointers, *integers),
        num_warps=4,
        num_stages=3,
        main_loop_mma=False,
        chosen=ALL_TARGETS,
    )


def _ring(
    name: str,
    dim: int,
    queries: int,
    keys: int,
    warps: int,
    stages: int,
    *,
    tma: bool = False,
    kind: str = "bf16",
    targets: tuple[int, ...] = ALL_TARGETS,
    chosen: tuple[int, ...] = (),
) -> CompileCase:
    spans = {f"{part}{index}": "i32" for part in ("start", "tokens") for index in range(3)}
    return _attention(
        name,
        ring_attention_kernel,
        _sizes(dim, queries, keys, tma=tma),
        pointers={},
        scalars={"queries": "i32", "slots": "i32", **spans},
        kind=kind,
        warps=warps,
        stages=stages,
        targets=targets,
        chosen=chosen,
    )


def _sparse(
    name: str,
    queries: int,
    keys: int,
    warps: int,
    *,
    tma: bool = False,
    rest: bool = False,
    query_tiles: int = 1,
    key_tiles: int = 1,
    targets: tuple[int, ...] = ALL_TARGETS,
    chosen: tuple[int, ...] = (),
) -> CompileCase:
    integers = ("queries", "keys", "query_blocks", "key_blocks", "mean_rows")
    pointers = dict.fromkeys(("Starts", "Ends", "Blocks"), "*i32")
    pointers |= {"MeanKey": "*bf16", "MeanValue": "*bf16", "Bias": "*fp32"}
    return _attention(
        name,
        block_sparse_kernel,
        _sizes(128, queries, keys, tma=tma)
        | {"QUERY_TILES": query_tiles, "KEY_TILES": key_tiles, "GLOBAL": rest},
        pointers=pointers,
        scalars=dict.fromkeys(integers, "i32"),
        warps=warps,
        stages=2,
        targets=targets,
        chosen=chosen,
    )


def _sizes(dim: int, queries: int, keys: int, *, tma: bool) -> dict[str, Any]:
    return {
        "HEADS": 12, "GROUP": 1, "DIM": dim, "BLOCK_D": 128 if dim == 96 else dim,
        "BLOCK_M": queries, "BLOCK_N": keys, "DESCRIPTORS": tma,
    }  # fmt: skip


def _attention(
    name: str,
    kernel: Any,
    constants: dict[str, Any],
    *,
    pointers: dict[str, str],
    scalars: dict[str, str],
    warps: int,
    stages: int,
    targets: tuple[int, ...],
    chosen: tuple[int, ...],
    kind: str = "bf16",
) -> CompileCase:
    """What all kernels over queries, keys and values have in common."""
    rows = f"*{kind}"
    if constants["DESCRIPTORS"]:
        rows = f"tensordesc<bf16[{constants['BLOCK_N']},{constants['BLOCK_D']}]>"
    plain = {"Query": f"*{kind}", "Out": f"*{kind}", "Lse": "*fp32", **pointers}
    sources = {"Key": rows, "Value": rows}
    strides = {
        f"{part}_{axis}": "i32" for part in ("query", "key", "value", "out") for axis in "bhn"
    }
    by_pointer = () if constants["DESCRIPTORS"] else tuple(sources)
    return CompileCase(
        name=name,
        kernel=kernel,
        signature={**plain, **sources, "scale_log2": "fp32", **scalars, **strides},
        constants=constants,
        aligned=(*plain, *by_pointer, *strides),
        num_warps=warps,
        num_stages=stages,
        main_loop_mma=kind == "bf16",
        targets=targets,
        chosen=chosen,
    )
