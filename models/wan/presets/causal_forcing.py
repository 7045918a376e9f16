"""Causal-Forcing and Causal-Forcing++: Self-Forcing's model and cache, other training.

The ++ models take four steps for their first chunk and one or two for every other. As with
Self-Forcing the window rolls on beyond the 21 latents that they were trained for.

The framewise models start from an image as well: its latent is the stream's first.
"""

from __future__ import annotations

from dataclasses import replace

from ...sampling.recipe import Recipe
from ...student.config import CacheConfig
from .preset import Preset
from .source import Source
from .start_image import StartImage
from .text_prompt import TextPrompt
from .wan21 import FILES, FOUR_STEPS, T2V_1_3B

_REPOSITORY = "zhuhz22/Causal-Forcing"
_CHUNKWISE = Preset(
    name="causal-forcing",
    title="Causal-Forcing 1.3B, chunkwise",
    about="text to video; trained for 81 frames, drifts beyond",
    licence="Apache-2.0",
    student=replace(T2V_1_3B, rope="absolute"),
    cache=CacheConfig(window_frames=21, sink="none"),
    recipe=FOUR_STEPS,
    # the authors' own command takes these, not the averaged ones
    weights=Source(_REPOSITORY, "chunkwise/causal_forcing.pt", ("generator",)),
    base=FILES,
)
_FRAMEWISE = replace(
    _CHUNKWISE,
    name="causal-forcing-framewise",
    title="Causal-Forcing 1.3B, framewise",
    about="as causal-forcing, a latent at a time",
    recipe=replace(FOUR_STEPS, chunk_frames=1),
    conditioning=(TextPrompt(), StartImage()),
    weights=Source(_REPOSITORY, "framewise/causal_forcing.pt", ("generator_ema",)),
)


_TWO_STEPS = replace(
    _FRAMEWISE,
    name="causal-forcing-2-step",
    title="Causal-Forcing++ 1.3B, framewise, 2 steps",
    about="as causal-forcing-framewise, in two steps",
    recipe=Recipe(chunk_frames=1, steps=(1000, 500), first_steps=FOUR_STEPS.steps),
    weights=Source(
        _REPOSITORY, "causal-forcing++/framewise-2step.pt", ("generator_ema", "generator")
    ),
)
_ONE_STEP = replace(
    _TWO_STEPS,
    name="causal-forcing-1-step",
    title="Causal-Forcing++ 1.3B, framewise, 1 step",
    about="as causal-forcing-framewise, in one step",
    recipe=Recipe(chunk_frames=1, steps=(1000,), first_steps=FOUR_STEPS.steps),
    weights=Source(
        _REPOSITORY, "causal-forcing++/framewise-1step.pt", ("generator_ema", "generator")
    ),
)
PRESETS = (_CHUNKWISE, _FRAMEWISE, _TWO_STEPS, _ONE_STEP)
