"""The decoder of Wan's VAEs as a stream: latents in pieces of any length, frames as of one pass.

Architecture and parameter names after Wan 2.1 (arXiv 2503.20314) and Wan 2.2's 5B model (both
Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .latent_scale import published_scale
from .vae_layers import (
    CausalConv,
    Memory,
    Norm,
    Residual,
    Sum,
    UpLevel,
    Upsample,
    check_levels,
    middle,
    name_parts,
    pixels,
    through,
    whole,
)
from .weights import load_weights


@dataclass(frozen=True, slots=True)
class WanDecoderConfig:
    """Shape of the decoder, as published for Wan 2.1.

    `doubles_time` says which levels do, from the latents. With `shortcuts` levels are those of Wan
    2.2, and channels stay as many while pictures grow; it makes squares of `patch` pixels a side.
    """

    dim: int = 96
    latent_channels: int = 16
    multipliers: tuple[int, ...] = (1, 2, 4, 4)
    residual_blocks: int = 2
    doubles_time: tuple[bool, ...] = (True, True, False)
    shortcuts: bool = False
    patch: int = 1

    def __post_init__(self) -> None:
        check_levels(self.doubles_time, self.multipliers, "doubles_time")

    @property
    def frames(self) -> int:
        """Frames that a latent gives; the first of a stream gives 1."""
        return 2 ** sum(self.doubles_time)

    @property
    def pixels(self) -> int:
        """Pixels of a latent's side."""
        return self.patch * 2 ** len(self.doubles_time)


WAN22_DECODER = WanDecoderConfig(dim=256, latent_channels=48, shortcuts=True, patch=2)
"""As published for Wan 2.2's 5B model."""


class WanDecoder(nn.Module):
    """Latents to frames; the first latent gives 1 frame, every other 4.

    Frames are 8 times as high and wide as latents, and with `patch` so much larger. `at_once` is
    how many latents it should be given in a call: with Wan 2.2's more than one would need much more
    memory (30 GB for eight at 1280 x 704).
    """

    def __init__(self, config: WanDecoderConfig | None = None) -> None:
        super().__init__()
        config = config or WanDecoderConfig()
        self.conv2 = nn.Conv3d(config.latent_channels, config.latent_channels, 1)
        self.decoder = _Decoder(config)
        self._patch = config.patch
        self.at_once = 1 if config.shortcuts else 3
        name_parts(self)

    @torch.no_grad()
    def forward(self, latents: Tensor, memory: Memory) -> Tensor:
        """The frames that the stream's next `latents` [B, F, C, h, w] show.

        They are [B, T, 3, 8 h, 8 w], about -1 to 1. `memory` is all that is kept between calls: an
        empty one starts a stream. Its size does not grow.
        """
        made = self.decoder(self.conv2(latents.transpose(1, 2)), memory)
        return (made if self._patch == 1 else pixels(made, self._patch)).transpose(1, 2)

    def decode(self, latents: Tensor, memory: Memory) -> Tensor:
        """As `forward`, of a student's latents, which have the published mean and deviation."""
        return self(published_scale(latents), memory)

    def load_published(self, weights: Mapping[str, Tensor]) -> None:
        """Take the decoder's out of a whole VAE's weights. Raises ValueError if they don't fit."""
        load_weights(
            self, {k: v for k, v in weights.items() if k.startswith(("decoder.", "conv2."))}
        )


class _Decoder(nn.Module):
    def __init__(self, config: WanDecoderConfig) -> None:
        super().__init__()
        widths = [config.dim * factor for factor in reversed(config.multipliers)]
        self.conv1 = CausalConv(config.latent_channels, widths[0])
        self.middle = middle(widths[0])
        levels: list[nn.Module] = []
        width = widths[0]
        residuals = config.residual_blocks + 1
        for level, outputs in enumerate(widths):
            upsample = None
            if level < len(config.doubles_time):
                larger = outputs if config.shortcuts else outputs // 2
                upsample = Upsample(outputs, larger, config.doubles_time[level])
            if config.shortcuts:
                levels.append(UpLevel(width, outputs, residuals, upsample))
                width = outputs
                continue
            for _ in range(residuals):
                levels.append(Residual(width, outputs))
                width = outputs
            if upsample is not None:
                levels.append(upsample)
                width = outputs // 2
        self.upsamples = nn.Sequential(*levels)
        self.head = nn.Sequential(Norm(width, 3), nn.SiLU(), CausalConv(width, 3 * config.patch**2))

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        made: Tensor | Sum = self.conv1.stream(x, memory)
        for part in (self.middle, self.upsamples, self.head):
            made = through(part, made, memory)
        return whole(made)
