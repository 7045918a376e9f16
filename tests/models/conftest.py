"""A student small enough for every test, with and without the optional parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from rollcast.models.student.causal_student import CausalStudent
from rollcast.models.student.conditioning import Conditions
from rollcast.models.student.config import StudentConfig

WAN: dict[str, Any] = {
    "dim": 48,
    "ffn_dim": 64,
    "num_heads": 2,
    "num_layers": 2,
    "in_channels": 4,
    "out_channels": 4,
    "text_dim": 10,
    "text_len": 5,
    "freq_dim": 16,
}
CONDITIONED: dict[str, Any] = WAN | {
    "patch": (1, 1, 1),
    "prediction": "sample",
    "audio_tokens": 3,
    "audio_dim": 6,
    "frame_dim": 7,
    "draft": True,
    "grid": (4, 4),
    "track_channels": 2,
    "track_features": 3,
    "extra_channels": 5,
    "stem_kernel": 3,
    "head_kernel": 3,
}

StudentMaker = Callable[..., CausalStudent]
ConditionsMaker = Callable[[CausalStudent, int], Conditions]


@pytest.fixture
def make_student() -> StudentMaker:
    """`make_student(conditioned=False, **config)`: random weights everywhere, none left at zero."""

    def make(*, conditioned: bool = False, seed: int = 0, **overrides: Any) -> CausalStudent:
        torch.manual_seed(seed)
        base = CONDITIONED if conditioned else WAN
        student = CausalStudent(StudentConfig(**(base | overrides))).eval()
        for parameter in student.parameters():
            torch.nn.init.normal_(parameter, std=0.15)
        return student.requires_grad_(False)

    return make


@pytest.fixture
def make_conditions() -> ConditionsMaker:
    """`make_conditions(student, frames)`: random ones, as the student's config wants them."""

    def make(student: CausalStudent, frames: int) -> Conditions:
        config = student.config
        if not config.audio_tokens:
            return Conditions()
        return Conditions(
            frames=torch.randn(1, frames, config.frame_dim),
            audio=torch.randn(1, frames, config.audio_tokens, config.audio_dim),
            tracks=torch.randn(1, frames * config.track_stride, config.track_channels, 4, 4),
            channels=torch.randn(1, 1, config.extra_channels, 4, 4),
            base=torch.randn(1, frames, config.out_channels, 4, 4),
        )

    return make
