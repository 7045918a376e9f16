"""StreamDiffusionV2 (arXiv 2511.07399): video in, the same video in another style out.

Two steps a latent with a cache each, so that they may run at once; a window of 3 latents behind a
sink of 3 that is renewed when the scene changes. As in its live demo, a new prompt starts anew, and
places of RoPE go back again and again, so that a stream has no end.
"""

from __future__ import annotations

from dataclasses import replace

from ...sampling.recipe import Recipe
from ...student.config import CacheConfig
from .live_video import LiveVideo
from .preset import Preset
from .source import BaseFiles, Source
from .text_prompt import TextPrompt
from .wan21 import FILES, T2V_1_3B, T2V_14B

_REPOSITORY = "jerryfeng/StreamDiffusionV2"
_SECTIONS = ("generator", "generator_ema", "state_dict")
_LARGE = "Wan-AI/Wan2.1-T2V-14B"
_SMALL = Preset(
    name="stream-diffusion-v2",
    title="StreamDiffusionV2 1.3B",
    about="video to video: redraws a camera's picture as the prompt says",
    licence="Apache-2.0",
    student=replace(T2V_1_3B, rope="absolute"),
    cache=CacheConfig(window_frames=3, sink_frames=3, refresh_below=0.2, rewind_at=50),
    recipe=Recipe(
        chunk_frames=1,
        first_frames=2,
        # the first two of a published list of four, as its commands take
        steps=(700, 500),
        warp=False,
        shift=8.0,
        caching="each_step",
        settles_first=True,
    ),
    conditioning=(TextPrompt(switch="restart"), LiveVideo(noise=0.8)),
    weights=Source(_REPOSITORY, "wan_causal_dmd_v2v/model.pt", _SECTIONS),
    speed="64.5 fps on four H100s",
    base=FILES,
)
PRESETS = (
    _SMALL,
    replace(
        _SMALL,
        name="stream-diffusion-v2-14b",
        title="StreamDiffusionV2 14B",
        about="as stream-diffusion-v2, of Wan's larger model",
        student=replace(T2V_14B, rope="absolute"),
        weights=Source(_REPOSITORY, "wan_causal_dmd_v2v_14b/model.pt", _SECTIONS),
        speed="58.3 fps on four H100s",
        base=BaseFiles(
            vae=replace(FILES.vae, repository=_LARGE),
            text_encoder=replace(FILES.text_encoder, repository=_LARGE),
            tokenizer=replace(FILES.tokenizer, repository=_LARGE),
        ),
    ),
)
