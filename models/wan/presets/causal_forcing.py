"""Causal-Forcing and Causal-Forcing++: Self-Forcing's model and cache, other training.

The ++ models take four steps for their first chunk and one or two for every other. As with
Self-Forcing the window rolls on beyond the 21 latents that they were trained for.
"""

from __future__ import annotations

from dataclasses import replace

from ...student.config import CacheConfig
from .preset import Preset, Source
from .wan21 import FILES, T2V_1_3B

_REPOSITORY = "zhuhz22/Causal-Forcing"
_FOUR = (1000, 750, 500, 250)
_STUDENT = replace(T2V_1_3B, rope="absolute")
_CACHE = CacheConfig(window_frames=21, sink="none")

PRESETS = (
    Preset(
        name="causal-forcing",
        title="Causal-Forcing 1.3B, chunkwise",
        about="text to video; trained for 81 frames, drifts beyond",
        licence="Apache-2.0",
        student=_STUDENT,
        cache=_CACHE,
        chunk=3,
        steps=_FOUR,
        # the authors' own command takes these, not the averaged ones
        weights=Source(_REPOSITORY, "chunkwise/causal_forcing.pt", ("generator",)),
        base=FILES,
    ),
    Preset(
        name="causal-forcing-framewise",
        title="Causal-Forcing 1.3B, framewise",
        about="as causal-forcing, a latent at a time",
        licence="Apache-2.0",
        student=_STUDENT,
        cache=_CACHE,
        chunk=1,
        steps=_FOUR,
        weights=Source(_REPOSITORY, "framewise/causal_forcing.pt", ("generator_ema",)),
        base=FILES,
    ),
    Preset(
        name="causal-forcing-2-step",
        title="Causal-Forcing++ 1.3B, framewise, 2 steps",
        about="as causal-forcing-framewise, in two steps",
        licence="Apache-2.0",
        student=_STUDENT,
        cache=_CACHE,
        chunk=1,
        steps=(1000, 500),
        first_steps=_FOUR,
        weights=Source(
            _REPOSITORY, "causal-forcing++/framewise-2step.pt", ("generator_ema", "generator")
        ),
        base=FILES,
    ),
    Preset(
        name="causal-forcing-1-step",
        title="Causal-Forcing++ 1.3B, framewise, 1 step",
        about="as causal-forcing-framewise, in one step",
        licence="Apache-2.0",
        student=_STUDENT,
        cache=_CACHE,
        chunk=1,
        steps=(1000,),
        first_steps=_FOUR,
        weights=Source(
            _REPOSITORY, "causal-forcing++/framewise-1step.pt", ("generator_ema", "generator")
        ),
        base=FILES,
    ),
)
