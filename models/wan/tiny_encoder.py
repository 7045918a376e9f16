"""Tiny encoders in TAEHV's format as streams: fast and soft, in the place of a VAE's own.

Layers and names as published (TAEHV, github.com/madebyollin/taehv, MIT), in the files of the tiny
decoders. They give a student's latents as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .latent_scale import published_scale
from .tiny_layers import BLOCKS, MemoryBlock, conv, through_frames
from .vae_layers import Memory, check_frames, name_parts

# where in the published sequence each level's time is pooled, and the last convolution
_POOLS = (2, 7, 12)
_LAST = 17
_SIDE = 8


@dataclass(frozen=True, slots=True)
class TinyEncoderConfig:
    """Shape of the encoder, as published for Wan 2.1.

    Each of three levels of `width` halves the height and the width, and makes one frame of as many
    as `pools` says. It sees squares of `patch` pixels a side.
    """

    latent_channels: int = 16
    width: int = 64
    pools: tuple[int, int, int] = (2, 2, 1)
    patch: int = 1

    @property
    def frames(self) -> int:
        """Frames that a latent is made of; the first of a stream is made of 1."""
        return prod(self.pools)

    @property
    def pixels(self) -> int:
        """Pixels of a latent's side."""
        return _SIDE * self.patch


class TinyEncoder(nn.Module):
    """Frames to a student's latents; the stream's first frame makes 1 latent, then every 4 do.

    Published code makes the first latent of the first 4 frames. A stream that has to answer its
    first frame has no others: it is seen 4 times. From then on pieces give what published code
    gives for such a clip.
    """

    def __init__(self, config: TinyEncoderConfig | None = None) -> None:
        super().__init__()
        config = config or TinyEncoderConfig()
        self._patch, self._frames, self._side = config.patch, config.frames, config.pixels
        width = config.width
        layers: list[nn.Module] = [conv(3 * config.patch**2, width), nn.ReLU()]
        for pools in config.pools:
            layers += [_Pool(width, pools), conv(width, width, bias=False, stride=2)]
            layers += [MemoryBlock(width) for _ in range(BLOCKS)]
        self.encoder = nn.Sequential(*layers, conv(width, config.latent_channels))
        name_parts(self)

    @torch.no_grad()
    def encode(self, frames: Tensor, memory: Memory) -> Tensor:
        """A student's latents [B, F, C, H / 8, W / 8] of the stream's next `frames`.

        They are [B, T, 3, H, W], -1 to 1. `memory` is all that is kept between calls: an empty one
        starts a stream. Its size does not grow. Raises ValueError for a number of frames that is
        not a multiple of 4, and one more at the start, and for sides that do not divide.
        """
        check_frames(frames, each=self._frames, side=self._side, first=not memory)
        if not memory:
            frames = torch.cat((frames[:, :1].expand(-1, self._frames - 1, -1, -1, -1), frames), 1)
        seen = F.pixel_unshuffle(frames.add(1).mul_(0.5), self._patch)
        return through_frames(self.encoder, seen, memory)

    def forward(self, frames: Tensor, memory: Memory) -> Tensor:
        """As `encode`, with latents as the VAE gives them."""
        return published_scale(self.encode(frames, memory))


class _Pool(nn.Module):
    """One frame of `factor`."""

    def __init__(self, width: int, factor: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width * factor, width, 1, bias=False)
        self._factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x.unflatten(0, (-1, self._factor)).flatten(1, 2))


def is_tiny_encoder(weights: Mapping[str, Tensor]) -> bool:
    """Whether these are the names of TAEHV's format."""
    return {"encoder.0.weight", *(f"encoder.{each}.conv.weight" for each in _POOLS)} <= set(weights)


def tiny_encoder_config(weights: Mapping[str, Tensor]) -> TinyEncoderConfig:
    """The shape of an encoder with these weights. Raises KeyError if they are none."""
    width, inputs = weights["encoder.0.weight"].shape[:2]
    first, second, third = (weights[f"encoder.{each}.conv.weight"].shape[1] for each in _POOLS)
    return TinyEncoderConfig(
        latent_channels=weights[f"encoder.{_LAST}.weight"].shape[0],
        width=width,
        pools=(first // width, second // width, third // width),
        patch=round((inputs / 3) ** 0.5),
    )
