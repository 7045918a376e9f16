"""LongLive 1 (arXiv 2509.22622): a window of 12 latents with a sink of 3; a new prompt recaches.

Its student is a base and an adapter of rank 256 on every layer of the blocks.
"""

from __future__ import annotations

from dataclasses import replace

from ...student.config import CacheConfig
from .preset import Preset
from .source import Adapter, Source
from .text_prompt import TextPrompt
from .wan21 import FILES, FOUR_STEPS, T2V_1_3B

_REPOSITORY = "Efficient-Large-Model/LongLive-1.3B"

PRESETS = (
    Preset(
        name="longlive",
        title="LongLive 1.3B",
        about="text to video; follows a new prompt at once, and its past is seen under it",
        licence="Apache-2.0",
        student=replace(T2V_1_3B, rope="absolute"),
        # `guard_sink`: both published configurations keep the sink at a switch ("global_sink")
        cache=CacheConfig(window_frames=9, sink_frames=3, guard_sink=True),
        recipe=FOUR_STEPS,
        conditioning=(TextPrompt(switch="recache"),),
        weights=Source(
            _REPOSITORY, "models/longlive_base.pt", ("generator", "generator_ema", "model")
        ),
        adapter=Adapter(Source(_REPOSITORY, "models/lora.pt", ("generator_lora",)), alpha=256.0),
        speed="20.7 fps on one H100",
        base=FILES,
    ),
)
