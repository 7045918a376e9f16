"""A chunk's latents between two calls, with what its sampler remembers of it, as one tensor.

So whoever takes a chunk from call to call, or from device to device, need not know the sampler.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .sampler import Sampler, SamplerMemory


def carried(latents: Tensor, memory: SamplerMemory, sampler: Sampler, step: int) -> Tensor:
    """Behind `step`: latents [B, F, C, h, w], then along the frames what is remembered."""
    kept = [memory[name] for name in sampler.remembers(step)]
    return torch.cat((latents, *kept), dim=1) if kept else latents


def taken_apart(whole: Tensor, sampler: Sampler, step: int) -> tuple[Tensor, SamplerMemory]:
    """The latents and the memory that `carried` put together behind `step`."""
    names = sampler.remembers(step)
    latents, *kept = whole.chunk(1 + len(names), dim=1)
    return latents, dict(zip(names, kept, strict=True))
