"""Golden cases of diffusers' `WanTransformer3DModel`: one pass over whole clips, without a past."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..student.conditioning import Conditions
from ..student.config import CacheConfig, StudentConfig
from ..wan.number_types import NumberTypes
from .published import EXACT, difference, diffusers_shape, golden_student, weights_of


def diffusers_differences(
    case: dict[str, Any], tensors: dict[str, Tensor], types: NumberTypes = EXACT
) -> tuple[float, ...]:
    """Greatest absolute difference of the prediction. Raises ValueError on other shapes."""
    text = tensors["in/encoder_hidden_states"]
    config = StudentConfig(**diffusers_shape(case["config"]), text_len=text.shape[1])
    student = golden_student(config, weights_of(tensors), types)
    context = student.encode_text(text, tensors.get("in/encoder_hidden_states_image"))
    given = tensors["in/hidden_states"].transpose(1, 2)
    latents, extra = given[:, :, : config.in_channels], given[:, :, config.in_channels :]
    cache = student.new_cache(
        CacheConfig(window_frames=given.shape[1], rolling=False),
        height=given.shape[3],
        width=given.shape[4],
        batch=given.shape[0],
    )
    timesteps = tensors["in/timestep"]
    made = student(
        latents,
        timesteps if timesteps.ndim == 2 else timesteps[:, None],
        context,
        cache,
        Conditions(channels=extra if config.extra_channels else None),
    )
    return (difference(made.transpose(1, 2), tensors["out/sample"]),)
