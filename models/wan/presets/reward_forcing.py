"""Reward Forcing (arXiv 2512.04678): a window of 9 latents whose sink is a moving average.

Keys are turned by their place in the cache, so that a stream has no end.
"""

from __future__ import annotations

from dataclasses import replace

from ...student.config import CacheConfig
from .preset import Preset
from .source import Source
from .wan21 import FILES, FOUR_STEPS, T2V_1_3B

PRESETS = (
    Preset(
        name="reward-forcing",
        title="Reward Forcing 1.3B",
        about="text to video without end, lively motion",
        licence="Apache-2.0",
        student=replace(T2V_1_3B, rope="slot"),
        cache=CacheConfig(window_frames=6, sink_frames=3, sink="ema", alpha=0.999),
        recipe=FOUR_STEPS,
        weights=Source("JaydenLu666/Reward-Forcing-T2V-1.3B", "rewardforcing.pt"),
        speed="23.1 fps on one H100",
        base=FILES,
    ),
)
