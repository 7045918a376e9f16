"""A VAE's decoder and encoder from their file, as Wan or diffusers publish it; tiny ones.

Which VAE it is, and of what size, follows from the names and shapes in the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from .checkpoint import open_checkpoint
from .decoder import WAN22_DECODER, WanDecoder, WanDecoderConfig
from .encoder import WAN22_ENCODER, WanEncoder, WanEncoderConfig
from .names import Renamed
from .presets.latent_space import WAN22, LatentSpace
from .tiny_decoder import (
    TinyDecoder,
    TinyDecoderConfig,
    is_tiny_decoder,
    tiny_decoder_config,
)
from .tiny_encoder import TinyEncoder, TinyEncoderConfig, is_tiny_encoder, tiny_encoder_config
from .vae_layers import put_channels_last
from .vae_names import VaeLayout
from .weight_files import BadCheckpoint
from .weights import WeightsDoNotFit, fill

Decoder = WanDecoder | TinyDecoder
"""Both take a student's latents: `decode(latents, memory)`."""
DecoderConfig = WanDecoderConfig | TinyDecoderConfig
Encoder = WanEncoder | TinyEncoder
"""Both give a student's latents: `encode(frames, memory)`, and called the VAE's own."""
EncoderConfig = WanEncoderConfig | TinyEncoderConfig

Network = TypeVar("Network", bound=nn.Module)
Config = TypeVar("Config", bound=DecoderConfig | EncoderConfig)


@dataclass(frozen=True, slots=True)
class VaeHalf(Generic[Network, Config]):
    """One half of a VAE, as it is found in files: `VAE_DECODER` or `VAE_ENCODER`.

    `prefixes` are those of its parameters in a whole VAE; the first one is that of a tiny one's,
    too. `does` is what it does to latents. `shape_of` tells a VAE's from its weights, `tiny_shape`
    that of a tiny one, which `is_tiny` knows; both raise KeyError for a name that they lack.
    """

    name: str
    does: str
    prefixes: tuple[str, ...]
    is_tiny: Callable[[Mapping[str, Tensor]], bool]
    shape_of: Callable[[Mapping[str, Tensor]], Config]
    tiny_shape: Callable[[Mapping[str, Tensor]], Config]
    network: Callable[[Config], Network]
    first: Config
    """As published for Wan 2.1."""
    second: Config
    """As published for Wan 2.2."""

    def load(
        self, path: Path, latents: LatentSpace, *, device: torch.device, dtype: torch.dtype
    ) -> Network:
        """That of a file, a VAE's or a tiny one, for a student with such `latents`.

        It is laid out as its device likes it. Raises BadCheckpoint for a file that holds none, or
        one of other latents.
        """
        weights = self.weights(path)
        empty = self.empty(self.config(weights, path, latents))
        try:
            filled = fill(empty, weights, device=device, dtype=dtype)
        except WeightsDoNotFit as error:
            raise BadCheckpoint(f"{path} {self._lacking}: {error}") from error
        if device.type == "cuda":
            put_channels_last(filled)
        return filled

    def weights(self, path: Path) -> Mapping[str, Tensor]:
        """The weights of a file's half under our names."""
        published = open_checkpoint(path)
        if self.is_tiny(published):
            own = self.prefixes[0]
            return Renamed(published, lambda name: name if name.startswith(own) else None)
        layout = VaeLayout.of(published)

        def name(theirs: str) -> str | None:
            ours = layout.name(theirs)
            return ours if ours is not None and ours.startswith(self.prefixes) else None

        return Renamed(published, name)

    def config(self, weights: Mapping[str, Tensor], path: Path, latents: LatentSpace) -> Config:
        """The shape of one with these weights, which are from `path`.

        Raises BadCheckpoint if they are none, or one of other latents than a student's.
        """
        try:
            config = (self.tiny_shape if self.is_tiny(weights) else self.shape_of)(weights)
        except KeyError as error:
            raise BadCheckpoint(f"{path} {self._lacking}: it lacks {error}") from error
        found = (config.latent_channels, config.pixels, config.frames)
        if found != (latents.channels, latents.pixels, latents.frames):
            raise BadCheckpoint(
                f"{path} {self.does} latents of {found[0]} channels, {found[1]} pixels a side and "
                f"{found[2]} frames; those of {latents.vae} have {latents.channels}, "
                f"{latents.pixels} and {latents.frames}"
            )
        return config

    def config_in(self, path: Path, latents: LatentSpace) -> Config:
        """The shape of the one in a file, for a student with such `latents`.

        Raises BadCheckpoint as `load` does.
        """
        return self.config(self.weights(path), path, latents)

    def empty(self, config: Config) -> Network:
        """One on `meta`: all its names and shapes, and no memory."""
        with torch.device("meta"):
            return self.network(config).eval()

    def published(self, latents: LatentSpace) -> Config:
        """The shape of the VAE's that is published for a student's latents."""
        return self.second if latents == WAN22 else self.first

    @property
    def _lacking(self) -> str:
        return f"holds no {self.name} of Wan 2.1 or 2.2, nor a tiny one in TAEHV's format"


def _decoder_config(weights: Mapping[str, Tensor]) -> WanDecoderConfig:
    levels = _Levels.of(weights, "decoder.upsamples", "upsamples")
    out, dim = weights["decoder.head.2.weight"].shape[:2]
    return WanDecoderConfig(
        dim=dim,
        latent_channels=weights["decoder.conv1.weight"].shape[1],
        multipliers=tuple(width // dim for width in reversed(levels.widths)),
        residual_blocks=levels.residuals - 1,
        doubles_time=levels.times,
        shortcuts=levels.nested,
        patch=round((out / 3) ** 0.5),
    )


def _encoder_config(weights: Mapping[str, Tensor]) -> WanEncoderConfig:
    levels = _Levels.of(weights, "encoder.downsamples", "downsamples")
    dim, inputs = weights["encoder.conv1.weight"].shape[:2]
    return WanEncoderConfig(
        dim=dim,
        latent_channels=weights["conv1.weight"].shape[0] // 2,
        multipliers=tuple(width // dim for width in levels.widths),
        residual_blocks=levels.residuals,
        halves_time=levels.times,
        shortcuts=levels.nested,
        patch=round((inputs / 3) ** 0.5),
    )


@dataclass(frozen=True, slots=True)
class _Levels:
    """The levels of one half: their widths, the residuals in each, which change the time."""

    widths: tuple[int, ...]
    residuals: int
    times: tuple[bool, ...]
    nested: bool

    @classmethod
    def of(cls, weights: Mapping[str, Tensor], prefix: str, inner: str) -> _Levels:
        """Of the parts under `prefix`, or of those in its levels, which are under `inner` there."""
        named = re.compile(rf"({re.escape(prefix)}\.(\d+)(?:\.{inner}\.(\d+))?)\.")
        found = list(filter(None, map(named.match, weights)))
        places = {(int(each[2]), int(each[3] or 0)): each[1] for each in found}
        levels: list[list[str]] = [[]]
        times: list[bool] = []
        for _, part in sorted(places.items()):
            if f"{part}.resample.1.weight" in weights:
                times.append(f"{part}.time_conv.weight" in weights)
                levels.append([])
            else:
                levels[-1].append(part)
        if not all(levels):
            raise KeyError(f"{prefix}.*.residual")
        widths = [weights[f"{level[-1]}.residual.6.weight"].shape[0] for level in levels]
        nested = any(each[3] is not None for each in found)
        return cls(tuple(widths), len(levels[0]), tuple(times), nested)


def _decoder(config: DecoderConfig) -> Decoder:
    return TinyDecoder(config) if isinstance(config, TinyDecoderConfig) else WanDecoder(config)


def _encoder(config: EncoderConfig) -> Encoder:
    return TinyEncoder(config) if isinstance(config, TinyEncoderConfig) else WanEncoder(config)


VAE_DECODER: VaeHalf[Decoder, DecoderConfig] = VaeHalf(
    name="decoder",
    does="decodes",
    prefixes=("decoder.", "conv2."),
    is_tiny=is_tiny_decoder,
    shape_of=_decoder_config,
    tiny_shape=tiny_decoder_config,
    network=_decoder,
    first=WanDecoderConfig(),
    second=WAN22_DECODER,
)
VAE_ENCODER: VaeHalf[Encoder, EncoderConfig] = VaeHalf(
    name="encoder",
    does="encodes to",
    prefixes=("encoder.", "conv1."),
    is_tiny=is_tiny_encoder,
    shape_of=_encoder_config,
    tiny_shape=tiny_encoder_config,
    network=_encoder,
    first=WanEncoderConfig(),
    second=WAN22_ENCODER,
)
