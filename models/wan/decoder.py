"""The Wan 2.1 VAE's decoder as a stream: latents in pieces of any length, frames as of one pass.

Architecture and parameter names after Wan 2.1 (arXiv 2503.20314, Apache-2.0). Every convolution
over time looks back two frames; what it saw last is kept in the stream's own memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...kernels.dispatch import attention
from .weights import load_weights

# Mean and deviation of the published VAE's latents, channel by channel.
LATENT_MEAN = (
    -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508,
    0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921,
)  # fmt: skip
LATENT_DEVIATION = (
    2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
    3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160,
)  # fmt: skip

_LOOK_BACK = 2
Memory = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class WanDecoderConfig:
    """Shape of the decoder, as published; `doubles_time` says which levels do, from the latents."""

    dim: int = 96
    latent_channels: int = 16
    multipliers: tuple[int, ...] = (1, 2, 4, 4)
    residual_blocks: int = 2
    doubles_time: tuple[bool, ...] = (True, True, False)

    def __post_init__(self) -> None:
        if len(self.doubles_time) != len(self.multipliers) - 1:
            raise ValueError(
                f"{len(self.doubles_time)} values in doubles_time for {len(self.multipliers)} "
                "levels; expected one less than levels"
            )


class WanDecoder(nn.Module):
    """Latents to frames, 8 times as high and wide; the first gives 1 frame, every other 4."""

    def __init__(self, config: WanDecoderConfig | None = None) -> None:
        super().__init__()
        config = config or WanDecoderConfig()
        self.conv2 = nn.Conv3d(config.latent_channels, config.latent_channels, 1)
        self.decoder = _Decoder(config)
        for name, module in self.named_modules():
            if isinstance(module, CausalConv):
                module.name = name

    @torch.no_grad()
    def forward(self, latents: Tensor, memory: Memory) -> Tensor:
        """The frames that the stream's next `latents` [B, F, C, h, w] show.

        They are [B, T, 3, 8 h, 8 w], about -1 to 1. `memory` is all that is kept between calls: an
        empty one starts a stream. Its size does not grow.
        """
        return self.decoder(self.conv2(latents.transpose(1, 2)), memory).transpose(1, 2)

    def load_published(self, weights: Mapping[str, Tensor]) -> None:
        """Take the decoder's out of a whole VAE's weights. Raises ValueError if they don't fit."""
        load_weights(
            self, {k: v for k, v in weights.items() if k.startswith(("decoder.", "conv2."))}
        )


def published_scale(latents: Tensor) -> Tensor:
    """`latents` [B, F, 16, h, w] of a student as the published VAE wants them."""
    shape = (1, 1, -1, 1, 1)
    mean = latents.new_tensor(LATENT_MEAN).reshape(shape)
    return latents * latents.new_tensor(LATENT_DEVIATION).reshape(shape) + mean


class CausalConv(nn.Conv3d):
    """A convolution with 2 frames of look-back, which are zeros at the start of a stream."""

    name = ""

    def __init__(self, inputs: int, outputs: int, *, spatial: int = 3) -> None:
        edge = spatial // 2
        super().__init__(inputs, outputs, (3, spatial, spatial), padding=(0, edge, edge))

    def stream(self, x: Tensor, memory: Memory) -> Tensor:
        """The next frames [B, C', T, h, w] of `x` [B, C, T, h, w]."""
        past = memory.get(self.name)
        if past is None:
            past = x.new_zeros(*x.shape[:2], _LOOK_BACK, *x.shape[3:])
        seen = torch.cat((past, x), dim=2)
        memory[self.name] = seen[:, :, -_LOOK_BACK:].clone()
        return self(seen)


class _Norm(nn.Module):
    """Unit length over channels, times the square root of their number and a learned factor."""

    def __init__(self, dim: int, axes: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim, *(1,) * axes))

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=1) * x.shape[1] ** 0.5 * self.gamma


class _Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            _Norm(inputs, 3),
            nn.SiLU(),
            CausalConv(inputs, outputs),
            _Norm(outputs, 3),
            nn.SiLU(),
            nn.Identity(),
            CausalConv(outputs, outputs),
        )
        self.shortcut = nn.Conv3d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def stream(self, x: Tensor, memory: Memory) -> Tensor:
        return self.shortcut(x) + _through(self.residual, x, memory)


class _FrameAttention(nn.Module):
    """Attention among the pixels of each frame, one head."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = _Norm(dim, 2)
        self.to_qkv = nn.Conv2d(dim, 3 * dim, 1)
        self.proj = nn.Conv2d(dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        frames = x.transpose(1, 2).flatten(0, 1)
        pixels = self.to_qkv(self.norm(frames)).flatten(2).transpose(1, 2).unsqueeze(1)
        mixed = attention(*pixels.chunk(3, dim=3))
        mixed = mixed.squeeze(1).transpose(1, 2).reshape(frames.shape)
        return x + self.proj(mixed).unflatten(0, (x.shape[0], -1)).transpose(1, 2)


class _Upsample(nn.Module):
    """Twice as high and wide, and twice as many frames but for the stream's first."""

    def __init__(self, dim: int, doubles_time: bool) -> None:
        super().__init__()
        self.resample = nn.Sequential(nn.Identity(), nn.Conv2d(dim, dim // 2, 3, padding=1))
        self.time_conv = CausalConv(dim, 2 * dim, spatial=1) if doubles_time else None

    def stream(self, x: Tensor, memory: Memory) -> Tensor:
        if self.time_conv is not None:
            x = self._double_time(self.time_conv, x, memory)
        frames = x.transpose(1, 2).flatten(0, 1)
        larger = F.interpolate(frames, scale_factor=2.0, mode="nearest-exact")
        return self.resample(larger).unflatten(0, (x.shape[0], -1)).transpose(1, 2)

    @staticmethod
    def _double_time(conv: CausalConv, x: Tensor, memory: Memory) -> Tensor:
        """The first frame of a stream stays one, and the frames behind it do not see it."""
        started = f"{conv.name}.started"
        first = x[:, :, :0] if started in memory else x[:, :, :1]
        memory[started] = torch.ones(1)
        rest = x[:, :, first.shape[2] :]
        if not rest.shape[2]:
            return first
        pairs = conv.stream(rest, memory).unflatten(1, (2, -1))
        return torch.cat((first, pairs.permute(0, 2, 3, 1, 4, 5).flatten(2, 3)), dim=2)


class _Decoder(nn.Module):
    def __init__(self, config: WanDecoderConfig) -> None:
        super().__init__()
        widths = [config.dim * factor for factor in reversed(config.multipliers)]
        self.conv1 = CausalConv(config.latent_channels, widths[0])
        self.middle = nn.Sequential(
            _Residual(widths[0], widths[0]),
            _FrameAttention(widths[0]),
            _Residual(widths[0], widths[0]),
        )
        levels: list[nn.Module] = []
        width = widths[0]
        for level, outputs in enumerate(widths):
            for _ in range(config.residual_blocks + 1):
                levels.append(_Residual(width, outputs))
                width = outputs
            if level < len(config.doubles_time):
                levels.append(_Upsample(outputs, config.doubles_time[level]))
                width = outputs // 2
        self.upsamples = nn.Sequential(*levels)
        self.head = nn.Sequential(_Norm(width, 3), nn.SiLU(), CausalConv(width, 3))

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        x = self.conv1.stream(x, memory)
        for part in (self.middle, self.upsamples, self.head):
            x = _through(part, x, memory)
        return x


def _through(layers: nn.Sequential, x: Tensor, memory: Memory) -> Tensor:
    for layer in layers:
        streams = isinstance(layer, CausalConv | _Residual | _Upsample)
        x = layer.stream(x, memory) if streams else layer(x)
    return x
