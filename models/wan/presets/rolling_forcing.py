"""Rolling Forcing (arXiv 2509.25161): five chunks at five noise levels are denoised together.

A chunk is shown when four more have entered the window behind it. The first chunk stays as an
anchor, right before what the window sees of the past.
"""

from __future__ import annotations

from dataclasses import replace

from ...sampling.recipe import Recipe
from ...student.config import CacheConfig
from .preset import Preset
from .source import Source
from .wan21 import FILES, T2V_1_3B

PRESETS = (
    Preset(
        name="rolling-forcing",
        title="Rolling Forcing 1.3B",
        about="text to video without end; follows a new prompt over five chunks",
        licence="Tencent (card: MIT)",
        student=replace(T2V_1_3B, rope="absolute"),
        cache=CacheConfig(window_frames=21, sink_frames=3, bounded_sink=True, reach_frames=21),
        recipe=Recipe(chunk_frames=3, steps=(1000, 800, 600, 400, 200), sampler="joint"),
        weights=Source(
            "TencentARC/RollingForcing",
            "checkpoints/rolling_forcing_dmd.pt",
            ("generator_ema", "generator"),
        ),
        speed="17.5 fps on one H100 (as measured by Reward Forcing)",
        base=FILES,
    ),
)
