"""LongLive 2: Wan 2.2's 5B model in chunks of eight latents, by UniPC, at 1280 x 704.

A prompt that begins with "The scene transitions. " is a cut: the new shot's first chunk is kept
beside the stream's own, and its positions begin further ahead.
"""

from __future__ import annotations

from dataclasses import replace

from ...sampling.recipe import Recipe
from ...student.config import CacheConfig
from .latent_space import WAN22
from .preset import Preset
from .source import Source
from .start_image import StartImage
from .text_prompt import TextPrompt
from .wan22 import FILES, TI2V_5B

PRESETS = (
    Preset(
        name="longlive-2",
        title="LongLive 2, 5B",
        about="text to video in shots, at 1280 x 704; a prompt can ask for a cut",
        licence="Apache-2.0 (code)",
        student=replace(TI2V_5B, rope="absolute"),
        cache=CacheConfig(window_frames=24, sink_frames=8, pinned_frames=8),
        recipe=Recipe(chunk_frames=8, steps=(1, 2, 3, 4), sampler="unipc"),
        conditioning=(
            TextPrompt(shot_prefix="The scene transitions. ", shot_offset=8.0),
            StartImage(place="within"),
        ),
        latents=WAN22,
        weights=Source(
            "Efficient-Large-Model/LongLive-2.0-5B",
            "model_bf16.pt",
            ("generator", "generator_ema", "model"),
        ),
        size=(1280, 704),
        fps=24,
        speed="24.8 fps (Blackwell, bfloat16)",
        base=FILES,
    ),
)
