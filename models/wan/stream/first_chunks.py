"""A model's first chunks, before anyone waits for one."""

from __future__ import annotations

import torch

from ....kernels.dense_attention.tuning import AttentionShape
from ....kernels.dispatch import settle_attention
from ...contract import Controls
from ...staged_model import Row
from ...student.config import StudentConfig
from ...warm_up import first_request
from ..presets.preset import Preset
from .model import WanModel


def settle_self_attention(
    preset: Preset,
    student: StudentConfig,
    latent: tuple[int, int],
    device: torch.device,
    dtype: torch.dtype,
) -> None:
    """Find out who computes a chunk's attention to a full window fastest on this GPU.

    `latent` are rows and columns of a latent frame.
    """
    tokens = student.tokens_per_frame(*latent)
    shape = AttentionShape(
        heads=student.num_heads,
        shared=student.num_heads,
        head_dim=student.dim // student.num_heads,
        queries=preset.recipe.chunk_frames * tokens,
        keys=preset.cache.capacity_frames * tokens,
        dtype=dtype,
    )
    settle_attention(shape, device)


def meet_every_length(model: WanModel, preset: Preset) -> None:
    """Denoise chunks of a stream until its window is full and comes round.

    Libraries choose how to compute, and build it, when they first meet a number of keys, which on a
    GPU takes them up to a tenth of a second: here, instead of in the middle of somebody's stream.
    """
    state = model.start(first_request(model.info))
    frames = 0
    while frames < preset.cache.capacity_frames + preset.recipe.chunk_frames:
        plan = model.prepare(state, Controls())
        latents = None
        for number, call in enumerate(model.chunk_steps.calls):
            # other caches are as long: no stage needs room for more than its own
            if call.cache == 0:
                (latents,) = model.denoise([Row(plan, number, latents, state.caches[0])])
        if plan.needed_by is not None and latents is not None:
            state.returns[plan.needed_by] = latents
        frames += preset.recipe.chunk_frames
