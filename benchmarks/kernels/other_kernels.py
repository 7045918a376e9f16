"""Attention kernels of others, compiled beside ours for comparison; none of their text is here.

FlexAttention's comes from the template of the installed torch, filled in as torch would for plain
attention. The Triton tutorial's is read from a copy of it on disk.
"""

from __future__ import annotations

import ast
import importlib.util
import tempfile
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from .compile_case import CompileCase

# Wan 1.3B at 480x832, 9 frames of 1560 tokens seen by a chunk of 3.
_HEADS, _DIM, _QUERIES, _KEYS = 12, 128, 4680, 14040
_TILES = ((128, 128, 8, 2), (128, 64, 8, 3), (128, 64, 8, 2))
_MASKS = ("KV_NUM_BLKS", "KV_IDX", "FULL_KV_NUM_BLKS", "FULL_KV_IDX")


@cache
def flex_cases() -> tuple[CompileCase, ...]:
    """FlexAttention with an identity for its score and a mask that masks nothing.

    Its best case, tuned as its documentation says: keys in blocks of 128 that are all full and lie
    behind one another, at a length that is a multiple of 128; no row of them is empty.
    """
    pointers = {"Q": "*bf16", "K": "*bf16", "V": "*bf16", "LSE": "*fp32", "MAX": "*fp32"}
    pointers |= dict.fromkeys(_MASKS, "*i32") | {"Out": "*bf16"}
    arguments = {f"arg_{name}": kind for name, kind in pointers.items()}
    cases: list[CompileCase] = []
    for queries, keys, warps, stages in _TILES:
        source = _flex_source(tuple(pointers), _flex_options(queries, keys))
        case = CompileCase(
            name=f"flex-{queries}x{keys}-s{stages}",
            kernel=_load(source, f"flex_attention_{queries}x{keys}").flex_attention,
            signature=arguments,
            constants={},
            aligned=tuple(arguments),
            num_warps=warps,
            num_stages=stages,
            main_loop_mma=True,
            targets=(90,),
        )
        cases.append(case)
    return tuple(cases)


def tutorial_cases(path: Path) -> tuple[CompileCase, ...]:
    """The forward kernel of Triton's tutorial 06 in its TMA form, not causal.

    Raises ValueError if `path` has no such kernel.
    """
    inner, outer = "_attn_fwd_inner_tma", "_attn_fwd_tma"
    tree = ast.parse(path.read_text())
    wanted = [
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name in (inner, outer)
    ]
    if len(wanted) != 2:
        raise ValueError(f"{path} does not define {inner} and {outer}; is it tutorial 06?")
    for function in wanted:
        # Autotuning asks for a GPU.
        function.decorator_list = [ast.parse("triton.jit", mode="eval").body]
    module = _load(_IMPORTS + "\n\n".join(ast.unparse(node) for node in wanted), "tutorial")
    kernel = getattr(module, outer)
    return tuple(
        _tutorial_case(kernel, queries, keys, warps, stages)
        for queries, keys, warps, stages in _TILES
    )


def _tutorial_case(kernel: Any, queries: int, keys: int, warps: int, stages: int) -> CompileCase:
    rows = {"desc_q": queries, "desc_k": keys, "desc_v": keys, "desc_o": queries}
    known: dict[str, Any] = {
        "HEAD_DIM": _DIM, "BLOCK_M": queries, "BLOCK_N": keys, "FP8_OUTPUT": False, "STAGE": 1,
    }  # fmt: skip
    # Later versions ask for more.
    known |= {"warp_specialize": False, "IS_HOPPER": True}
    constants = {name: value for name, value in known.items() if name in kernel.arg_names}
    # Its loads are of float16 by name.
    types = {name: f"tensordesc<fp16[{count},{_DIM}]>" for name, count in rows.items()}
    types |= {"sm_scale": "fp32", "M": "*fp32", "Z": "i32", "H": "i32", "N_CTX": "i32"}
    return CompileCase(
        name=f"tutorial-tma-{queries}x{keys}-s{stages}",
        kernel=kernel,
        signature=types,
        constants=constants,
        aligned=("M", "N_CTX"),
        num_warps=warps,
        num_stages=stages,
        main_loop_mma=True,
        targets=(90,),
    )


_IMPORTS = "import triton\nimport triton.language as tl\n\n\n"


def _flex_options(queries: int, keys: int) -> dict[str, Any]:
    """The options that torch's lowering sets for this problem, and those that a user can add."""
    return {
        "PRESCALE_QK": True, "ROWS_GUARANTEED_SAFE": True, "BLOCKS_ARE_CONTIGUOUS": True,
        "OUTPUT_LOGSUMEXP": True, "OUTPUT_MAX": False, "FLOAT32_PRECISION": "ieee",
        "IS_DIVISIBLE": True, "SM_SCALE": _DIM**-0.5, "GQA_SHARED_HEADS": 1,
        "HAS_FULL_BLOCKS": True, "QK_HEAD_DIM": _DIM, "QK_HEAD_DIM_ROUNDED": _DIM,
        "V_HEAD_DIM": _DIM, "V_HEAD_DIM_ROUNDED": _DIM, "SAFE_HEAD_DIM": True, "USE_TMA": False,
        "BLOCK_M": queries, "BLOCK_N": keys, "SPARSE_Q_BLOCK_SIZE": 128,
        "SPARSE_KV_BLOCK_SIZE": 128,
    }  # fmt: skip


def _flex_source(pointers: tuple[str, ...], options: dict[str, Any]) -> str:
    """torch's template with plain functions in the places of its compiler's hooks."""
    from jinja2 import Environment, StrictUndefined

    folder = Path(str(torch.__file__)).parent / "_inductor" / "kernel" / "flex" / "templates"
    parts = ("flex_attention", "utilities", "common")
    text = "\n".join((folder / f"{part}.py.jinja").read_text() for part in parts)
    rows = _QUERIES // 128 + 1
    columns = _KEYS // 128 + 1
    shapes = {"Q": (1, _HEADS, rows * 128, _DIM), "K": (1, _HEADS, columns * 128, _DIM)}
    shapes |= {"V": shapes["K"]}
    shapes |= {name: (1, 1, rows) for name in _MASKS if "NUM" in name}
    shapes |= {name: (1, 1, rows, columns) for name in _MASKS if "IDX" in name}

    def stride(name: str, index: int | None = None) -> str:
        shape = shapes[name]
        steps = [1] * len(shape)
        for place in range(len(shape) - 2, -1, -1):
            steps[place] = steps[place + 1] * shape[place + 1]
        return ", ".join(map(str, steps)) if index is None else str(steps[index])

    def store(indices: tuple[str, ...], value: str, mask: str, **_: Any) -> str:
        batch, head, row, column = indices
        at = f"(({batch} * {_HEADS} + {head}) * {shapes['Q'][2]} + {row}) * {_DIM} + {column}"
        return f"tl.store(Out + {at}, {value}.to(Out.dtype.element_ty), mask={mask})"

    def modification(subgraph_number: int, output_name: str, score: str, **_: Any) -> str:
        return f"{output_name} = " + (score if subgraph_number == 0 else "n >= 0")

    def indent(block: str, by: int) -> str:
        first, *others = block.splitlines()
        return "\n".join([first, *("    " * by + line for line in others)])

    arguments = ", ".join(f"arg_{name}" for name in pointers)
    defines = "\n".join(f"{name}: tl.constexpr = {value!r}" for name, value in options.items())
    start = [f"{name} = arg_{name}" for name in pointers] + ["INDEX_DTYPE = tl.int32"]
    head = indent("\n".join([defines, *start]), 1)
    environment = Environment(undefined=StrictUndefined)
    environment.filters["indent_except_first"] = indent
    return _IMPORTS + environment.from_string(text).render(
        def_kernel=lambda *_: f"@triton.jit\ndef flex_attention({arguments}):\n    {head}",
        gen_argdefs=lambda: arguments,
        gen_defines=lambda: defines,
        stride=stride,
        size=lambda name, index: str(shapes[name][index]),
        store_output=store,
        modification=modification,
        **options,
    )


def _load(source: str, name: str) -> ModuleType:
    """A module of `source`; Triton reads kernels from their file, so there must be one."""
    folder = Path(tempfile.mkdtemp(prefix="rollcast-kernels-"))
    path = folder / f"{name}.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location(f"_compared_{name}", path)
    assert spec is not None and spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
