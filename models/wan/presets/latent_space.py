"""Whose latents a student makes: how many pixels and frames each of them stands for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LatentSpace:
    """`channels` of a latent, `pixels` of its side, and the `frames` that it gives.

    The first latent of a stream gives 1 frame, whatever `frames` is.
    """

    vae: str
    channels: int
    pixels: int
    frames: int = 4

    def pictures(self, latents: int, *, first: bool) -> int:
        """Frames that so many latents give; `first`: they begin the stream."""
        return self.frames * latents - (self.frames - 1 if first else 0)


WAN21 = LatentSpace("Wan 2.1", channels=16, pixels=8)
WAN22 = LatentSpace("Wan 2.2", channels=48, pixels=16)
"""Of the 5B model; the 14B models of Wan 2.2 have the latents of Wan 2.1."""
