"""Models of published shapes with random weights, and what a stream of them is fed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ...models.pocket.config import STUDENT as POCKET
from ...models.student.causal_student import CausalStudent
from ...models.student.conditioning import Conditions, TextContext
from ...models.student.config import CacheConfig, StudentConfig
from ...models.wan.presets.wan21 import T2V_1_3B

# At 480x832 its latents are 60 x 104.
WAN = T2V_1_3B
# Reward Forcing: nine frames in all, three of them the sink. LongLive: nine and a sink of three.
EMA_SINK = CacheConfig(window_frames=6, sink_frames=3, sink="ema")
STATIC_SINK = CacheConfig(window_frames=9, sink_frames=3)


@dataclass(frozen=True, slots=True)
class Kind:
    """A family of published students: positions, and what its cache keeps."""

    student: StudentConfig
    cache: CacheConfig


KINDS = {
    "slot RoPE, EMA sink": Kind(replace(WAN, rope="slot"), EMA_SINK),
    "absolute RoPE, static sink": Kind(WAN, STATIC_SINK),
}


def random_student(config: StudentConfig, device: torch.device | str) -> CausalStudent:
    """A student on `device`, float32, that answers: heads and other parts that start at zero are
    drawn as well."""
    with torch.device(device):
        student = CausalStudent(config).eval().requires_grad_(False)
    for module in student.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.Conv3d) and not module.weight.any():
            nn.init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)
    return student


def random_text(student: CausalStudent) -> TextContext:
    """The context of a prompt of full length, in the dtype of the weights."""
    weight = student.patch_embedding.weight
    text = torch.randn(1, student.config.text_len, student.config.text_dim)
    return student.encode_text(text.to(weight.device, weight.dtype))


def pocket_conditions(frames: int, device: torch.device) -> Conditions:
    """Everything that the pocket student is told, drawn."""
    shape = POCKET
    assert shape.grid is not None

    def drawn(*size: int) -> Tensor:
        return torch.randn(1, *size, device=device)

    return Conditions(
        frames=drawn(frames, shape.frame_dim),
        audio=drawn(frames, shape.audio_tokens, shape.audio_dim),
        tracks=drawn(frames * shape.track_stride, shape.track_channels, *shape.grid),
        channels=drawn(frames, shape.extra_channels, *shape.grid),
    )
