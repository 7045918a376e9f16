"""Self-Forcing (arXiv 2506.08009): global attention over 21 latents, four steps.

Beyond what it was trained for (81 frames) the window rolls on, as its code does when told to; the
picture then drifts.
"""

from __future__ import annotations

from dataclasses import replace

from ...student.config import CacheConfig
from .preset import Preset
from .source import Source
from .wan21 import FILES, FOUR_STEPS, T2V_1_3B

PRESETS = (
    Preset(
        name="self-forcing",
        title="Self-Forcing 1.3B",
        about="text to video; trained for 81 frames, drifts beyond",
        licence="Apache-2.0",
        student=replace(T2V_1_3B, rope="absolute"),
        cache=CacheConfig(window_frames=21, sink="none"),
        recipe=FOUR_STEPS,
        weights=Source(
            "gdhe17/Self-Forcing",
            "checkpoints/self_forcing_dmd.pt",
            ("generator_ema", "generator"),
        ),
        speed="17.0 fps on one H100 (as measured by Reward Forcing)",
        base=FILES,
    ),
)
