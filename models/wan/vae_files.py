"""A VAE's decoder and encoder from their file, as Wan or diffusers publish it; tiny decoders.

Which VAE it is, and of what size, follows from the names and shapes in the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .checkpoint import open_checkpoint
from .decoder import WanDecoder, WanDecoderConfig
from .encoder import WanEncoder, WanEncoderConfig
from .names import Renamed
from .presets.latent_space import LatentSpace
from .tiny_decoder import TinyDecoder, tiny_decoder_config
from .vae_names import VaeLayout
from .weight_files import BadCheckpoint
from .weights import WeightsDoNotFit, fill

_DECODER = ("decoder.", "conv2.")
_ENCODER = ("encoder.", "conv1.")


def load_decoder(path: Path, *, device: torch.device, dtype: torch.dtype) -> WanDecoder:
    """The decoder of a VAE's file. Raises BadCheckpoint for a file that holds none."""
    weights = decoder_weights(path)
    try:
        with torch.device("meta"):
            decoder = WanDecoder(decoder_config(weights))
        return fill(decoder, weights, device=device, dtype=dtype)
    except (KeyError, WeightsDoNotFit) as error:
        raise BadCheckpoint(f"{path} holds no decoder of Wan 2.1 or 2.2: {error}") from error


def load_tiny_decoder(
    path: Path, latents: LatentSpace, *, device: torch.device, dtype: torch.dtype
) -> TinyDecoder:
    """The decoder of a file in TAEHV's format, for a student with such `latents`.

    Raises BadCheckpoint for a file that holds none, or one of other latents.
    """
    weights = tiny_decoder_weights(path, latents)
    try:
        with torch.device("meta"):
            decoder = TinyDecoder(tiny_decoder_config(weights))
        return fill(decoder, weights, device=device, dtype=dtype)
    except WeightsDoNotFit as error:
        raise BadCheckpoint(f"{path} is no tiny decoder in TAEHV's format: {error}") from error


def load_encoder(path: Path, *, device: torch.device, dtype: torch.dtype) -> WanEncoder:
    """The encoder of a VAE's file. Raises BadCheckpoint for a file that holds none."""
    weights = encoder_weights(path)
    try:
        with torch.device("meta"):
            encoder = WanEncoder(encoder_config(weights))
        return fill(encoder, weights, device=device, dtype=dtype)
    except (KeyError, WeightsDoNotFit) as error:
        raise BadCheckpoint(f"{path} holds no encoder of Wan 2.1 or 2.2: {error}") from error


def decoder_weights(path: Path) -> Mapping[str, Tensor]:
    """The weights of a VAE's decoder under our names."""
    return _half(path, _DECODER)


def tiny_decoder_weights(path: Path, latents: LatentSpace) -> Mapping[str, Tensor]:
    """The weights of a tiny decoder for such `latents`. Raises BadCheckpoint for any other."""
    published = open_checkpoint(path)
    weights = Renamed(published, lambda name: name if name.startswith("decoder.") else None)
    try:
        config = tiny_decoder_config(weights)
    except KeyError as error:
        raise BadCheckpoint(f"{path} is no tiny decoder in TAEHV's format: no {error}") from error
    found = (config.latent_channels, config.pixels, config.frames)
    if found != (latents.channels, latents.pixels, latents.frames):
        raise BadCheckpoint(
            f"{path} decodes latents of {found[0]} channels to {found[2]} frames of {found[1]} "
            f"pixels a side; {latents.vae}'s have {latents.channels}, {latents.frames} and "
            f"{latents.pixels}. Take {'taew2_1' if latents.channels == 16 else 'taew2_2'}"
        )
    return weights


def encoder_weights(path: Path) -> Mapping[str, Tensor]:
    """The weights of a VAE's encoder under our names."""
    return _half(path, _ENCODER)


def decoder_config(weights: Mapping[str, Tensor]) -> WanDecoderConfig:
    """The shape of a decoder with these weights. Raises KeyError if they are none."""
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


def encoder_config(weights: Mapping[str, Tensor]) -> WanEncoderConfig:
    """The shape of an encoder with these weights. Raises KeyError if they are none."""
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


def _half(path: Path, prefixes: tuple[str, ...]) -> Mapping[str, Tensor]:
    published = open_checkpoint(path)
    layout = VaeLayout.of(published)

    def name(theirs: str) -> str | None:
        ours = layout.name(theirs)
        return ours if ours is not None and ours.startswith(prefixes) else None

    return Renamed(published, name)
