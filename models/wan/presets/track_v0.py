"""Track-v0: FastVideo's causal TrackWan, the public student of MotionStream's kind.

Drags on a picture (arXiv 2511.01266): a first chunk of one latent, which is the picture and the
sink, then chunks of three behind a window of five; keys are turned by their place in the cache.
Its schedule is shifted twice, and its live server tells the student whole timesteps.
"""

from __future__ import annotations

from dataclasses import replace

from ...sampling.recipe import Recipe
from ...student.config import CacheConfig
from .dragged_points import DraggedPoints
from .image_to_video import ImageToVideo
from .preset import Preset
from .source import BaseFiles, Source
from .text_prompt import TextPrompt
from .wan21 import CLIP, FILES, T2V_1_3B

_REPOSITORY = "H1yori233/Track-v0"

PRESETS = (
    Preset(
        name="track-v0",
        title="Track-v0 1.3B",
        about="a picture whose points are dragged, and a camera, with a prompt",
        licence="unknown: read its repository's card",
        student=replace(
            T2V_1_3B,
            rope="slot",
            time_waves="float32",
            image_dim=1280,
            extra_channels=20,
            track_channels=64,
        ),
        cache=CacheConfig(window_frames=5, sink_frames=1, sink="static"),
        recipe=Recipe(
            chunk_frames=3,
            first_frames=1,
            steps=(1000, 750, 500, 250),
            shift=6.0,
            shifted_twice=True,
            whole_times=True,
        ),
        conditioning=(
            TextPrompt(),
            ImageToVideo(Source(_REPOSITORY, "image_encoder", also=(CLIP,))),
            DraggedPoints(),
        ),
        weights=Source(_REPOSITORY, "transformer"),
        base=BaseFiles(
            vae=Source(_REPOSITORY, "vae", also=(FILES.vae.path,)),
            text_encoder=Source(_REPOSITORY, "text_encoder", also=(FILES.text_encoder.path,)),
            tokenizer=Source(_REPOSITORY, "tokenizer", also=(FILES.tokenizer.path,)),
        ),
    ),
)
