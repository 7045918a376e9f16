"""Shapes of the pocket student, shared by training and streams."""

from __future__ import annotations

from ..student.config import CacheConfig, StudentConfig
from .autoencoder import LATENT_SIZE
from .conditions import (
    FRAME_DIM,
    GROUP,
    PACKED_CHANNELS,
    PACKED_TRACK_CHANNELS,
    REFERENCE_CHANNELS,
    VISEMES,
)

# the reference picture is the sink; behind it four chunks and the one under way
CACHE = CacheConfig(window_frames=5, sink_frames=1, sink="static")
STEPS = (1000.0, 500.0)
"""What the weights were trained with."""
SERVED_STEPS = STEPS[:1]
"""What streams take unless they are told otherwise: as good for half of the time
(docs/embedded-model.md)."""
SHIFT = 1.0

STUDENT = StudentConfig(
    dim=192,
    ffn_dim=576,
    num_heads=6,
    num_layers=4,
    in_channels=PACKED_CHANNELS,
    out_channels=PACKED_CHANNELS,
    text_dim=64,
    text_len=16,
    patch=(1, 1, 1),
    rope="slot",
    prediction="sample",
    audio_tokens=GROUP,
    audio_dim=VISEMES,
    frame_dim=FRAME_DIM,
    draft=True,
    grid=(LATENT_SIZE, LATENT_SIZE),
    track_channels=PACKED_TRACK_CHANNELS,
    track_features=64,
    extra_channels=REFERENCE_CHANNELS,
    stem_kernel=3,
    head_kernel=3,
)
