"""Self-Gradient Forcing+: a second model of the same shape writes the cache, from clean latents.

One file holds both, so that it takes twice the memory of its kin. Keys are cached raw and stand at
the top of as many positions as the cache has frames, so that a stream has no end.
"""

from __future__ import annotations

from dataclasses import replace

from ...student.config import CacheConfig
from .preset import Preset
from .source import Source
from .start_image import StartImage
from .text_prompt import TextPrompt
from .wan21 import FILES, FOUR_STEPS, T2V_1_3B

_REPOSITORY = "ZihanSu/Self_Gradient_Forcing_Plus"
_SECTIONS = ("generator_ema", "generator")
_CHUNKWISE = Preset(
    name="sgf-plus",
    title="SGF+ 1.3B, chunkwise",
    about="text to video without end; a second model of 1.3B remembers what was shown",
    licence="Apache-2.0",
    student=replace(T2V_1_3B, rope="top_aligned", trained_frames=12),
    cache=CacheConfig(window_frames=9, sink_frames=3),
    recipe=replace(FOUR_STEPS, clean_expert=True),
    # as long as a chunk, so that the expert writes a whole one
    conditioning=(TextPrompt(), StartImage(latents=FOUR_STEPS.chunk_frames)),
    weights=Source(_REPOSITORY, "chunkwise/model.pt", _SECTIONS),
    speed="about 19 fps on one B200",
    base=FILES,
)
PRESETS = (
    _CHUNKWISE,
    replace(
        _CHUNKWISE,
        name="sgf-plus-framewise",
        title="SGF+ 1.3B, framewise",
        about="as sgf-plus, a latent at a time",
        student=replace(T2V_1_3B, rope="top_aligned", trained_frames=21),
        cache=CacheConfig(window_frames=17, sink_frames=4),
        recipe=replace(FOUR_STEPS, chunk_frames=1, clean_expert=True),
        conditioning=(TextPrompt(), StartImage()),
        weights=Source(_REPOSITORY, "framewise/model.pt", _SECTIONS),
        speed="",
    ),
)
