"""Compile cases of every kernel that a preset launches, as it launches it: nothing is listed here.

Each preset streams on `meta`, which stands for a GPU: the start of a stream, a chunk with a full
cache, what its conditioning does at its worst, and its VAE. What is then said to be launched are
the very arguments that a launcher would compile for.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

from ...kernels.gpu import Capability
from ...kernels.launch import Launch
from ...kernels.tile.tile_sizes import TENSOR_CORE_TYPES
from ...models.wan.presets.catalogue import presets
from ...models.wan.presets.preset import Preset
from ...models.wan.stream.memory_plan import plan_memory
from .chunk_operations import MetaStream
from .compile_case import ALL_TARGETS, CompileCase
from .operation_count import counted, name_of

_TYPES = {
    torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32", torch.int32: "i32",
    torch.int8: "i8", torch.bool: "i1", torch.float8_e4m3fn: "fp8e4nv",
    torch.uint8: "u8",
}  # fmt: skip
# Triton's, for what a launch does not say.
_WARPS, _STAGES = 4, 3
_WITH_PRODUCTS = ("ring_attention", "block_sparse", "int8_attention", "normed_attention")
# Of a stream: nothing new is launched behind them, which is tested.
FIRST_CHUNKS = 2
# All layers of a student launch the same.
_LAYERS = 2


def preset_launches(preset: Preset, capability: Capability) -> list[Launch]:
    """All that a stream of `preset` launches, VAE included, on a GPU of that capability."""
    config = preset.student
    few = config if config.avatar is not None else replace(config, num_layers=_LAYERS)
    with counted(capability) as count:
        plan_memory(preset, student=few, gpu=capability)
        stream = MetaStream(preset, layers=_LAYERS)
        context = stream.context()
        for _ in range(FIRST_CHUNKS):
            stream.make_chunk(context)
    return count.seen


@cache
def preset_cases() -> tuple[CompileCase, ...]:
    """A case of each variant, for the targets on which a preset launches it."""
    return cases_by_target(preset_launches, different_presets())


def cases_by_target(
    launches: Callable[[Preset, Capability], Sequence[Launch]], among: Sequence[Preset]
) -> tuple[CompileCase, ...]:
    """A case of each variant of what presets launch, by `launches`."""
    found: dict[str, CompileCase] = {}
    for target in ALL_TARGETS:
        capability = divmod(target, 10)
        for preset in among:
            for case in cases_of(launches(preset, capability)):
                known = found.setdefault(case.name, case)
                if target not in known.targets:
                    every = (*known.targets, target)
                    found[case.name] = replace(known, targets=every, chosen=every)
    return tuple(found.values())


def different_presets() -> list[Preset]:
    """One preset of each shape: others differ from it in their weights alone."""
    found: dict[object, Preset] = {}
    for preset in presets().values():
        kinds = tuple(each.kind for each in preset.conditioning)
        shape = preset.student, preset.cache, preset.recipe, preset.latents, preset.size, kinds
        found.setdefault(shape, preset)
    return list(found.values())


def cases_of(launches: Iterable[Launch]) -> list[CompileCase]:
    """Each variant that a launcher would compile for these, once; targets are left open."""
    return list({case.name: case for case in map(case_of, launches)}.values())


def case_of(launch: Launch) -> CompileCase:
    """What a launcher finds out by itself: types, constants, alignment."""
    parameters = inspect.signature(launch.kernel.fn).parameters
    open_names = unspecialised(launch.kernel)
    signature: dict[str, str] = {}
    constants: dict[str, Any] = {}
    aligned: list[str] = []
    kinds: set[torch.dtype] = set()
    for name, value in launch.arguments.items():
        if "constexpr" in str(parameters[name].annotation):
            constants[name] = value
        elif isinstance(value, TensorDescriptor):
            rows = ",".join(str(side) for side in value.block_shape)
            signature[name] = f"tensordesc<{_TYPES[value.base.dtype]}[{rows}]>"
        elif isinstance(value, Tensor):
            signature[name] = f"*{_TYPES[value.dtype]}"
            kinds.add(value.dtype)
            if value.storage_offset() * value.element_size() % 16 == 0:
                aligned.append(name)
        elif isinstance(value, float):
            signature[name] = "fp32"
        elif name not in open_names and value == 1:
            constants[name] = value
        else:
            signature[name] = "i32"
            if name not in open_names and value % 16 == 0:
                aligned.append(name)
    kernel = name_of(launch)
    loose = [name for name in signature if name not in {*aligned, *open_names}]
    return CompileCase(
        name=_name(kernel, signature, constants, loose),
        kernel=launch.kernel,
        signature=signature,
        constants=constants,
        aligned=tuple(aligned),
        num_warps=launch.options.get("num_warps", _WARPS),
        num_stages=launch.options.get("num_stages", _STAGES),
        main_loop_mma=kernel in _WITH_PRODUCTS and bool(kinds & {*TENSOR_CORE_TYPES}),
        targets=(),
        of_preset=True,
    )


def unspecialised(kernel: Any) -> set[str]:
    """Arguments whose values a kernel is never compiled for, in Triton or in its interpreter."""
    names = getattr(kernel, "do_not_specialize", None)
    return set(kernel.kwargs.get("do_not_specialize", ()) if names is None else names)


def _name(
    kernel: str, signature: dict[str, str], constants: dict[str, Any], loose: list[str]
) -> str:
    """The kernel, its types, its constants, and what of its arguments is not aligned."""
    types = "+".join(dict.fromkeys(kind for kind in signature.values() if kind[0] in "*t"))
    told = ",".join(
        f"{name}={value:{'g' if isinstance(value, float) else 'd'}}"
        for name, value in constants.items()
    )
    unaligned = "".join(f"/{name}" for name in loose if signature[name][0] in "*i")
    return f"{kernel}({types};{told}){unaligned}".replace(" ", "")
