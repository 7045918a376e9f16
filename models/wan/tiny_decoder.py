"""Tiny decoders in TAEHV's format as streams: fast and soft, in the place of a VAE's own.

Layers and names as published (TAEHV, github.com/madebyollin/taehv, MIT): `taew2_1` for Wan 2.1 and
Wan 2.2's 14B models, `taew2_2` for Wan 2.2's 5B model. It takes a student's latents as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .tiny_layers import BLOCKS, MemoryBlock, conv, through_frames
from .vae_layers import Memory, name_parts

_SIDE = 8
# where in the published sequence each level's time is grown, and where its width changes
_GROWS = (7, 13, 19)
_MIXES = (1, 8, 14, 20)
_LAST = 22


@dataclass(frozen=True, slots=True)
class TinyDecoderConfig:
    """Shape of the decoder, as published for Wan 2.1.

    `widths` are those of its levels; each of the first three doubles the height and the width, and
    makes as many frames of one as `grows` says. It makes squares of `patch` pixels a side.
    """

    latent_channels: int = 16
    widths: tuple[int, int, int, int] = (256, 128, 64, 64)
    grows: tuple[int, int, int] = (1, 2, 2)
    patch: int = 1

    @property
    def frames(self) -> int:
        """Frames that a latent gives; the first of a stream gives 1."""
        return prod(self.grows)

    @property
    def pixels(self) -> int:
        """Pixels of a latent's side."""
        return _SIDE * self.patch


class TinyDecoder(nn.Module):
    """A student's latents to frames; the first latent gives 1 frame, every other 4.

    `at_once` is how many latents it should be given in a call.
    """

    at_once = 3

    def __init__(self, config: TinyDecoderConfig | None = None) -> None:
        super().__init__()
        config = config or TinyDecoderConfig()
        self._patch = config.patch
        self._before = config.frames - 1
        widths = config.widths
        layers: list[nn.Module] = [
            _SoftClamp(),
            conv(config.latent_channels, widths[0]),
            nn.ReLU(inplace=True),
        ]
        for level, grows in enumerate(config.grows):
            width = widths[level]
            layers += [MemoryBlock(width) for _ in range(BLOCKS)]
            layers += [nn.Upsample(scale_factor=2), _Grow(width, grows)]
            layers += [conv(width, widths[level + 1], bias=False)]
        layers += [nn.ReLU(inplace=True), conv(widths[-1], 3 * config.patch**2)]
        self.decoder = nn.Sequential(*layers)
        name_parts(self)

    @torch.no_grad()
    def forward(self, latents: Tensor, memory: Memory) -> Tensor:
        """The frames that the stream's next `latents` [B, F, C, h, w] show.

        They are [B, T, 3, 8 h, 8 w], about 0 to 1, and with `patch` so much larger. `memory`
        is all that is kept between calls: an empty one starts a stream. Its size does not grow.
        """
        starts = not memory
        x = through_frames(self.decoder, latents, memory)
        made = x if self._patch == 1 else F.pixel_shuffle(x, self._patch)
        # nothing is before the first latent; published decoders leave out what they make of that
        return made[:, self._before :] if starts else made

    def decode(self, latents: Tensor, memory: Memory) -> Tensor:
        """As `forward`, with frames about -1 to 1."""
        return self(latents, memory).mul_(2).sub_(1)


class _SoftClamp(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x / 3) * 3


class _Grow(nn.Module):
    """`factor` frames of each one."""

    def __init__(self, width: int, factor: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width * factor, 1, bias=False)
        self._factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).unflatten(1, (self._factor, -1)).flatten(0, 1)


def is_tiny_decoder(weights: Mapping[str, Tensor]) -> bool:
    """Whether these are the names of TAEHV's format."""
    return {f"decoder.{_MIXES[0]}.weight", f"decoder.{_GROWS[0]}.conv.weight"} <= weights.keys()


def tiny_decoder_config(weights: Mapping[str, Tensor]) -> TinyDecoderConfig:
    """The shape of a decoder with these weights. Raises KeyError if they are none."""
    widths = [weights[f"decoder.{place}.weight"].shape[0] for place in _MIXES]
    grown = [weights[f"decoder.{place}.conv.weight"].shape[:2] for place in _GROWS]
    first, second, third = (made // width for made, width in grown)
    return TinyDecoderConfig(
        latent_channels=weights[f"decoder.{_MIXES[0]}.weight"].shape[1],
        widths=(widths[0], widths[1], widths[2], widths[3]),
        grows=(first, second, third),
        patch=round((weights[f"decoder.{_LAST}.weight"].shape[0] / 3) ** 0.5),
    )
