"""Live Avatar (arXiv 2512.04677): somebody in a picture speaks, in step with a voice, without end.

Its student is Wan2.2-S2V 14B with an adapter of rank 128. Each of its steps has a cache of its own
and there is no clean pass, so that every step can have a GPU of its own.
"""

from __future__ import annotations

from dataclasses import replace

from ...sampling.recipe import Recipe
from ...student.config import AvatarConfig, CacheConfig
from .preset import Preset
from .reference_image import ReferenceImage
from .source import Adapter, BaseFiles, Source
from .speech import Speech
from .text_prompt import TextPrompt
from .wan21 import T2V_14B

_REPOSITORY = "Wan-AI/Wan2.2-S2V-14B"
_EXAMPLES = (
    "Somebody looks into the camera and talks, lively and at ease, in soft light, before a still "
    "background.",
    "Somebody explains something with calm gestures, sitting at a desk, the camera still.",
    "Somebody sings with feeling, eyes half closed, in warm stage light.",
)
# As diffusers' Euler scheduler gives them for shift 3, which it applies twice. The last is nearly
# clean already.
_FOUR = (1000.0, 857.692, 602.151, 8.929)
_THREE = (1000.0, 751.121, 8.929)

_FOUR_STEPS = Preset(
    name="live-avatar",
    title="Live Avatar 14B",
    about="whoever is in a picture speaks with your voice, without end; for several GPUs",
    licence="Apache-2.0",
    student=replace(T2V_14B, avatar=AvatarConfig()),
    # the published code draws the distance anew in every call, from 4 to 30; this is the middle
    cache=CacheConfig(window_frames=12, rolling_distance=17),
    recipe=Recipe(
        chunk_frames=3,
        steps=_FOUR,
        sampler="euler",
        shift=3.0,
        shifted_twice=True,
        warp=False,
        caching="each_step",
    ),
    conditioning=(
        TextPrompt(examples=_EXAMPLES),
        ReferenceImage(),
        Speech(
            Source(
                _REPOSITORY,
                "wav2vec2-large-xlsr-53-english/model.safetensors",
                beside=("config.json",),
            )
        ),
    ),
    weights=Source(_REPOSITORY, "diffusion_pytorch_model.safetensors.index.json"),
    base=BaseFiles(
        vae=Source(_REPOSITORY, "Wan2.1_VAE.pth"),
        text_encoder=Source(_REPOSITORY, "models_t5_umt5-xxl-enc-bf16.pth"),
        tokenizer=Source(_REPOSITORY, "google/umt5-xxl"),
    ),
    adapter=Adapter(Source("Quark-Vision/Live-Avatar", "liveavatar.safetensors"), alpha=64.0),
    size=(704, 384),
    fps=25,
    speed="45.2 fps on five H800 (720x400, FP8)",
)
_THREE_STEPS = replace(
    _FOUR_STEPS,
    name="live-avatar-3-step",
    title="Live Avatar 14B, 3 steps",
    about="as live-avatar, in three steps; lips a little less exact",
    recipe=replace(_FOUR_STEPS.recipe, steps=_THREE),
    speed="",
)

PRESETS = (_FOUR_STEPS, _THREE_STEPS)
