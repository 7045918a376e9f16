"""Configs check themselves and survive JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rollcast.models.student.config import AvatarConfig, CacheConfig, StudentConfig

SMALL: dict[str, Any] = {
    "dim": 48,
    "ffn_dim": 64,
    "num_heads": 2,
    "num_layers": 1,
    "in_channels": 4,
    "out_channels": 4,
    "text_dim": 8,
    "text_len": 4,
}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_heads": 5}, "does not split"),
        ({"num_heads": 12}, "leaves an axis without RoPE"),
        ({"patch": (2, 2, 2)}, "temporal patch"),
        ({"freq_dim": 15}, "even"),
        ({"stem_kernel": 3}, "patch"),
        ({"draft": True}, "draft needs"),
        ({"audio_tokens": 3}, "go together"),
        ({"rope": "top_aligned"}, "trained_frames 0 with rope 'top_aligned'"),
        ({"trained_frames": 21}, "trained_frames 21 with rope 'absolute'"),
        ({"rope": "slot", "avatar": AvatarConfig(inject_layers=())}, "absolute RoPE"),
    ],
)
def test_a_student_that_cannot_be(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StudentConfig(**(SMALL | wrong))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"window_frames": 0}, "window_frames"),
        ({"window_frames": 3, "sink": "ema"}, "EMA sink needs"),
        ({"window_frames": 3, "sink_frames": 1, "sink": "none"}, "expected 0"),
        ({"window_frames": 3, "alpha": 1.5}, "alpha"),
    ],
)
def test_a_cache_that_cannot_be(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CacheConfig(**wrong)


def test_survives_json() -> None:
    config = StudentConfig(
        **SMALL,
        patch=(1, 1, 1),
        frame_dim=3,
        draft=True,
        grid=(4, 6),
        prediction="sample",
        rope="top_aligned",
        trained_frames=21,
        image_dim=9,
        time_waves="float32",
        track_bias=False,
    )
    assert StudentConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_stem_channels_add_up() -> None:
    config = StudentConfig(
        **SMALL,
        frame_dim=3,
        draft=True,
        grid=(4, 4),
        prediction="sample",
        extra_channels=7,
        track_channels=2,
        track_features=5,
    )
    assert config.stem_channels == 4 + 4 + 7 + 5


def test_latents_must_divide() -> None:
    with pytest.raises(ValueError, match="not divisible"):
        StudentConfig(**SMALL).tokens_per_frame(5, 4)
