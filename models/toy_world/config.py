"""Shapes and words of the toy world's student, shared by training and streams."""

from __future__ import annotations

from dataclasses import replace

from ..sampling.flow_schedule import FlowSchedule
from ..student.config import CacheConfig, RopeFamily, StudentConfig

MOODS = ("calm", "brisk", "dizzy")
PALETTES = ("warm", "cold")
NO_MOOD, NO_PALETTE = len(MOODS), len(PALETTES)
"""What a network is told instead when it has no prompt."""

SIZE = 12
"""Rows and columns of a picture."""
FRAMES = 4
"""Pictures of a chunk, which is one latent frame: picture after picture in its channels."""
CHANNELS = 3 * FRAMES
BACKGROUND = -0.8
"""What latents are differences from, of values -1..1."""

WIDTH, LAYERS = 64, 4
WORD = 16
"""Width of the two words of a prompt."""
CACHE = CacheConfig(window_frames=3, sink_frames=1)
"""The clip's first chunk, and the last three, the one under way among them."""
SINKS = {
    "static": CACHE,
    "none": CacheConfig(window_frames=4, sink="none"),
    "ema .9": replace(CACHE, sink="ema", alpha=0.9, precision="in_place"),
    "ema .99": replace(CACHE, sink="ema", alpha=0.99, precision="in_place"),
}
"""Caches of one size that the student can be sampled with; it is taught with the static one.

Their tensors are alike, so that a stream's cache can begin anew by another one: in float32 a shadow
of an average has the bits of what it is the shadow of.
"""
SCHEDULE = FlowSchedule(5.0)
STEPS = SCHEDULE.warp((1000, 750, 500, 250))


PATCH = (1, 4, 4)
"""Nine tokens a chunk."""


def toy_config(
    width: int = WIDTH,
    layers: int = LAYERS,
    *,
    patch: tuple[int, int, int] = PATCH,
    rope: RopeFamily = "slot",
) -> StudentConfig:
    """A student of the toy world, predicting the sample."""
    return StudentConfig(
        dim=width,
        ffn_dim=3 * width,
        num_heads=4,
        num_layers=layers,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        text_dim=WORD,
        text_len=2,
        freq_dim=64,
        patch=patch,
        rope=rope,
        prediction="sample",
    )
