"""What golden cases of all families have in common: Wan's shape, and how results are compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..sampling.flow_schedule import FlowSchedule
from ..sampling.recipe import Recipe
from ..sampling.sampler import NoiseSource
from ..student.causal_student import CausalStudent
from ..student.config import StudentConfig
from ..wan.number_types import NumberTypes, settle_all
from ..wan.weights import load_weights, plain_names

EXACT = NumberTypes(torch.float32)
"""As the cases were recorded."""


def wan_shape(published: dict[str, Any], *, patch: str) -> dict[str, Any]:
    """The arguments of `StudentConfig` that every published Wan student names alike.

    `patch` is the entry that holds the patch.
    """
    return {
        "dim": published["dim"],
        "ffn_dim": published["ffn_dim"],
        "num_heads": published["num_heads"],
        "num_layers": published["num_layers"],
        "in_channels": published["in_dim"],
        "out_channels": published["out_dim"],
        "text_dim": published["text_dim"],
        "text_len": published["text_len"],
        "freq_dim": published["freq_dim"],
        "patch": tuple(published[patch]),
        "eps": published["eps"],
    }


def diffusers_shape(published: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `StudentConfig` that a diffusers configuration names, but for the text's.

    Channels beside the latents are extra ones. Raises ValueError for other norms than Wan's.
    """
    norms = published.get("qk_norm", "rms_norm_across_heads"), published.get("cross_attn_norm")
    if norms != ("rms_norm_across_heads", True):
        raise ValueError(f"qk_norm and cross_attn_norm {norms}; only Wan's are known")
    heads = published["num_attention_heads"]
    dim = heads * published["attention_head_dim"]
    if published.get("added_kv_proj_dim") not in (None, dim):
        raise ValueError(f"added_kv_proj_dim {published['added_kv_proj_dim']}; expected {dim}")
    latents = published["out_channels"]
    return {
        "dim": dim,
        "ffn_dim": published["ffn_dim"],
        "num_heads": heads,
        "num_layers": published["num_layers"],
        "in_channels": latents,
        "out_channels": latents,
        "extra_channels": published["in_channels"] - latents,
        "text_dim": published["text_dim"],
        "freq_dim": published["freq_dim"],
        "image_dim": published.get("image_dim") or 0,
        "patch": tuple(published["patch_size"]),
        "eps": published["eps"],
        "time_waves": "float32",
    }


def weights_of(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights among all tensors of a case, by the student's own names."""
    named = {n.removeprefix("w/"): t for n, t in tensors.items() if n.startswith("w/")}
    return plain_names(named)


def golden_student(
    config: StudentConfig, weights: Mapping[str, Tensor], types: NumberTypes = EXACT
) -> CausalStudent:
    """A student with the weights of a case, in evaluation mode. Raises WeightsDoNotFit."""
    student = CausalStudent(config).eval().requires_grad_(False)
    load_weights(student, weights)
    student.to(types.dtype)
    settle_all(student, types)
    return student


def recorded_noise(tensors: dict[str, Tensor]) -> NoiseSource:
    """The noise that was drawn between steps, one recording after the other.

    It raises ValueError when none is left.
    """
    names = numbered(tensors, "in/renoise/")
    left = iter(names)

    def draw(sample: Tensor) -> Tensor:
        name = next(left, None)
        if name is None:
            raise ValueError(f"{len(names)} tensors in/renoise/*; the steps draw more")
        return tensors[name].reshape(sample.shape)

    return draw


def numbered(tensors: Mapping[str, Tensor], prefix: str) -> list[str]:
    """The names of `tensors` that are `prefix` and a number, by that, however it is written.

    Raises ValueError for others that begin so.
    """
    names = [name for name in tensors if name.startswith(prefix)]
    odd = [name for name in names if not name.removeprefix(prefix).isdecimal()]
    if odd:
        raise ValueError(f"tensors {', '.join(odd)}; expected a number behind {prefix}")
    return sorted(names, key=lambda name: int(name.removeprefix(prefix)))


def recipe_of(case: dict[str, Any], **fields: Any) -> Recipe:
    """The steps and the schedule of a case, with more `fields` of the recipe."""
    table = case.get("scheduler") or {}
    shift, twice = float(table.get("shift", 5.0)), bool(table.get("double_shift", False))
    schedule = FlowSchedule(shift, twice=twice)

    def steps(name: str) -> tuple[float, ...]:
        """A step list as the case has it warped, or warped here; empty if there is none."""
        warped = case.get(f"{name}_warped")
        return tuple(schedule.warp(case.get(name) or ()) if warped is None else warped)

    return Recipe(
        steps=steps("denoising_step_list"),
        first_steps=steps("denoising_step_list_first_chunk"),
        warp=False,
        shift=shift,
        shifted_twice=twice,
        context_timestep=float(case.get("context_noise") or 0),
        **fields,
    )


def check_shape(made: Tensor, expected: Tensor) -> None:
    """Raise ValueError unless both have one shape."""
    if made.shape != expected.shape:
        raise ValueError(f"made {tuple(made.shape)}, the case has {tuple(expected.shape)}")


def difference(made: Tensor, expected: Tensor) -> float:
    """The greatest absolute difference. Raises ValueError on other shapes."""
    check_shape(made, expected)
    return float((made - expected).abs().max())
