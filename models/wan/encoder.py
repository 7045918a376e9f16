"""The encoder of Wan's VAEs as a stream: frames in pieces, latents as of one pass.

Architecture and parameter names after Wan 2.1 (arXiv 2503.20314) and Wan 2.2's 5B model (both
Apache-2.0). A latent is the mean of the distribution that the VAE gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .latent_scale import students_scale
from .vae_layers import (
    CausalConv,
    DownLevel,
    Downsample,
    Memory,
    Norm,
    Residual,
    Sum,
    check_frames,
    check_levels,
    middle,
    name_parts,
    patches,
    through,
    whole,
)
from .weights import load_weights


@dataclass(frozen=True, slots=True)
class WanEncoderConfig:
    """Shape of the encoder, as published for Wan 2.1.

    `halves_time` says which levels do, from the frames. With `shortcuts` levels are those of Wan
    2.2; it sees squares of `patch` pixels a side.
    """

    dim: int = 96
    latent_channels: int = 16
    multipliers: tuple[int, ...] = (1, 2, 4, 4)
    residual_blocks: int = 2
    halves_time: tuple[bool, ...] = (False, True, True)
    shortcuts: bool = False
    patch: int = 1

    def __post_init__(self) -> None:
        check_levels(self.halves_time, self.multipliers, "halves_time")

    @property
    def frames(self) -> int:
        """Frames that a latent is made of; the first of a stream is made of 1."""
        return 2 ** sum(self.halves_time)

    @property
    def pixels(self) -> int:
        """Pixels of a latent's side."""
        return self.patch * 2 ** len(self.halves_time)


WAN22_ENCODER = WanEncoderConfig(dim=160, latent_channels=48, shortcuts=True, patch=2)
"""As published for Wan 2.2's 5B model."""


class WanEncoder(nn.Module):
    """Frames to latents; the stream's first frame makes 1 latent, then every 4 frames do."""

    def __init__(self, config: WanEncoderConfig | None = None) -> None:
        super().__init__()
        config = config or WanEncoderConfig()
        self.encoder = _Encoder(config)
        self.conv1 = nn.Conv3d(2 * config.latent_channels, 2 * config.latent_channels, 1)
        self._patch = config.patch
        self._frames, self._side = config.frames, config.pixels
        name_parts(self)

    @torch.no_grad()
    def forward(self, frames: Tensor, memory: Memory) -> Tensor:
        """The latents [B, F, C, H / 8, W / 8] of the stream's next `frames` [B, T, 3, H, W].

        Frames are -1 to 1. `memory` is all that is kept between calls: an empty one starts a
        stream. Its size does not grow. Raises ValueError for a number of frames that is not a
        multiple of 4, and one more at the start, and for sides that do not divide.
        """
        check_frames(frames, each=self._frames, side=self._side, first=not memory)
        x = frames.transpose(1, 2)
        made = self.encoder(x if self._patch == 1 else patches(x, self._patch), memory)
        return self.conv1(made).chunk(2, dim=1)[0].transpose(1, 2)

    def encode(self, frames: Tensor, memory: Memory) -> Tensor:
        """As `forward`, with latents as a student wants them."""
        return students_scale(self(frames, memory))

    def load_published(self, weights: Mapping[str, Tensor]) -> None:
        """Take the encoder's out of a whole VAE's weights. Raises ValueError if they don't fit."""
        load_weights(
            self, {k: v for k, v in weights.items() if k.startswith(("encoder.", "conv1."))}
        )


class _Encoder(nn.Module):
    def __init__(self, config: WanEncoderConfig) -> None:
        super().__init__()
        width = config.dim
        self.conv1 = CausalConv(3 * config.patch**2, width)
        levels: list[nn.Module] = []
        for level, factor in enumerate(config.multipliers):
            outputs, downsample = config.dim * factor, None
            if level < len(config.halves_time):
                downsample = Downsample(outputs, config.halves_time[level])
            if config.shortcuts:
                levels.append(DownLevel(width, outputs, config.residual_blocks, downsample))
                width = outputs
                continue
            for _ in range(config.residual_blocks):
                levels.append(Residual(width, outputs))
                width = outputs
            if downsample is not None:
                levels.append(downsample)
        self.downsamples = nn.Sequential(*levels)
        self.middle = middle(width)
        self.head = nn.Sequential(
            Norm(width, 3), nn.SiLU(), CausalConv(width, 2 * config.latent_channels)
        )

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        made: Tensor | Sum = self.conv1.stream(x, memory)
        for part in (self.downsamples, self.middle, self.head):
            made = through(part, made, memory)
        return whole(made)
