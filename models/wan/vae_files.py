"""A VAE's decoder and encoder from their file, as Wan or diffusers publish it; tiny ones.

Which VAE it is, and of what size, follows from the names and shapes in the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

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

_NO_ENCODER = "holds no encoder of Wan 2.1 or 2.2, nor a tiny one in TAEHV's format"
_NO_DECODER = "holds no decoder of Wan 2.1 or 2.2, nor a tiny one in TAEHV's format"
Network = TypeVar("Network", bound=nn.Module)
_DECODER = ("decoder.", "conv2.")
_ENCODER = ("encoder.", "conv1.")


def load_decoder(
    path: Path, latents: LatentSpace, *, device: torch.device, dtype: torch.dtype
) -> Decoder:
    """The decoder of a file, a VAE's or a tiny one, for a student with such `latents`.

    Raises BadCheckpoint for a file that holds none, or one of other latents.
    """
    weights = decoder_weights(path)
    empty = empty_decoder(decoder_config(weights, path, latents))
    return _filled(empty, weights, f"{path} {_NO_DECODER}", device=device, dtype=dtype)


def load_encoder(
    path: Path, latents: LatentSpace, *, device: torch.device, dtype: torch.dtype
) -> Encoder:
    """The encoder of a file, a VAE's or a tiny one, for a student with such `latents`.

    Raises BadCheckpoint for a file that holds none, or one of other latents.
    """
    weights = encoder_weights(path)
    empty = empty_encoder(encoder_config(weights, path, latents))
    return _filled(empty, weights, f"{path} {_NO_ENCODER}", device=device, dtype=dtype)


def _filled(
    empty: Network,
    weights: Mapping[str, Tensor],
    lacks: str,
    *,
    device: torch.device,
    dtype: torch.dtype,
) -> Network:
    """A network with its weights, laid out as its device likes them."""
    try:
        filled = fill(empty, weights, device=device, dtype=dtype)
    except WeightsDoNotFit as error:
        raise BadCheckpoint(f"{lacks}: {error}") from error
    if device.type == "cuda":
        put_channels_last(filled)
    return filled


def decoder_weights(path: Path) -> Mapping[str, Tensor]:
    """The weights of a file's decoder under our names."""
    published = open_checkpoint(path)
    if is_tiny_decoder(published):
        return Renamed(published, lambda name: name if name.startswith("decoder.") else None)
    return _half(published, _DECODER)


def encoder_weights(path: Path) -> Mapping[str, Tensor]:
    """The weights of a file's encoder under our names."""
    published = open_checkpoint(path)
    if is_tiny_encoder(published):
        return Renamed(published, lambda name: name if name.startswith("encoder.") else None)
    return _half(published, _ENCODER)


def decoder_config(
    weights: Mapping[str, Tensor], path: Path, latents: LatentSpace
) -> DecoderConfig:
    """The shape of a decoder with these weights, which are from `path`.

    Raises BadCheckpoint if they are none, or one of other latents than a student's.
    """
    try:
        config = tiny_decoder_config(weights) if is_tiny_decoder(weights) else _own_config(weights)
    except KeyError as error:
        raise BadCheckpoint(f"{path} {_NO_DECODER}: it lacks {error}") from error
    _check_latents(path, "decodes", config, latents)
    return config


def encoder_config(
    weights: Mapping[str, Tensor], path: Path, latents: LatentSpace
) -> EncoderConfig:
    """The shape of an encoder with these weights, which are from `path`.

    Raises BadCheckpoint if they are none, or one of other latents than a student's.
    """
    try:
        config = tiny_encoder_config(weights) if is_tiny_encoder(weights) else _own_encoder(weights)
    except KeyError as error:
        raise BadCheckpoint(f"{path} {_NO_ENCODER}: it lacks {error}") from error
    _check_latents(path, "encodes to", config, latents)
    return config


def _check_latents(
    path: Path, does: str, config: DecoderConfig | EncoderConfig, latents: LatentSpace
) -> None:
    found = (config.latent_channels, config.pixels, config.frames)
    if found != (latents.channels, latents.pixels, latents.frames):
        raise BadCheckpoint(
            f"{path} {does} latents of {found[0]} channels, {found[1]} pixels a side and "
            f"{found[2]} frames; those of {latents.vae} have {latents.channels}, {latents.pixels} "
            f"and {latents.frames}"
        )


def decoder_in(path: Path, latents: LatentSpace) -> DecoderConfig:
    """The shape of the decoder in a file, for a student with such `latents`.

    Raises BadCheckpoint as `load_decoder` does.
    """
    return decoder_config(decoder_weights(path), path, latents)


def encoder_in(path: Path, latents: LatentSpace) -> EncoderConfig:
    """The shape of the encoder in a file, for a student with such `latents`.

    Raises BadCheckpoint as `load_encoder` does.
    """
    return encoder_config(encoder_weights(path), path, latents)


def empty_decoder(config: DecoderConfig) -> Decoder:
    """A decoder on `meta`: all its names and shapes, and no memory."""
    with torch.device("meta"):
        tiny = isinstance(config, TinyDecoderConfig)
        return (TinyDecoder(config) if tiny else WanDecoder(config)).eval()


def empty_encoder(config: EncoderConfig) -> Encoder:
    """An encoder on `meta`: all its names and shapes, and no memory."""
    with torch.device("meta"):
        tiny = isinstance(config, TinyEncoderConfig)
        return (TinyEncoder(config) if tiny else WanEncoder(config)).eval()


def published_decoder(latents: LatentSpace) -> WanDecoderConfig:
    """The VAE's decoder that is published for a student's latents."""
    return WAN22_DECODER if latents == WAN22 else WanDecoderConfig()


def published_encoder(latents: LatentSpace) -> WanEncoderConfig:
    """The VAE's encoder that is published for a student's latents."""
    return WAN22_ENCODER if latents == WAN22 else WanEncoderConfig()


def _own_config(weights: Mapping[str, Tensor]) -> WanDecoderConfig:
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


def _own_encoder(weights: Mapping[str, Tensor]) -> WanEncoderConfig:
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


def _half(published: Mapping[str, Tensor], prefixes: tuple[str, ...]) -> Mapping[str, Tensor]:
    layout = VaeLayout.of(published)

    def name(theirs: str) -> str | None:
        ours = layout.name(theirs)
        return ours if ours is not None and ours.startswith(prefixes) else None

    return Renamed(published, name)
