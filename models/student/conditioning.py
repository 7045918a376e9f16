"""What steers a student beside noise and time: text, audio, tracks, channels, per-frame values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from .blocks import KeysValues
from .config import StudentConfig


@dataclass(frozen=True, slots=True)
class Conditions:
    """Condition inputs of F latent frames; each is needed exactly if the student has that part.

    `frames` [B, F, frame_dim], `audio` [B, F, A, audio_dim],
    `tracks` [B, track_stride * F, track_channels, h, w],
    `channels` [B, F or 1, extra_channels, h, w], `base` [B, F or 1, C, h, w] (always optional; a
    sample student predicts the residual to it). For an avatar, `speech` [B, F, A + 2, d] of
    `speech_tokens` and `pose` [B, F, pose_channels, h, w] (always optional).
    """

    frames: Tensor | None = None
    audio: Tensor | None = None
    tracks: Tensor | None = None
    channels: Tensor | None = None
    base: Tensor | None = None
    speech: Tensor | None = None
    pose: Tensor | None = None

    def check(self, config: StudentConfig, frames: int) -> None:
        """Raise ValueError if these are not what `config` needs for `frames` frames."""
        needed: dict[str, tuple[int | None, tuple[int, ...], tuple[int, ...]]] = {
            "frames": (config.frame_dim, (frames,), (config.frame_dim,)),
            "audio": (config.audio_tokens, (frames,), (config.audio_tokens, config.audio_dim)),
            "tracks": (
                config.track_channels,
                (frames * config.track_stride,),
                (config.track_channels,),
            ),
            "channels": (config.extra_channels, (1, frames), (config.extra_channels,)),
            "base": (None, (1, frames), (config.out_channels,)),
            "speech": (0, (), ()),
            "pose": (0, (), ()),
        }
        if config.avatar is not None:
            tokens = config.avatar.audio_tokens + 2
            needed["speech"] = (tokens, (frames,), (tokens, config.dim))
            needed["pose"] = (None, (frames,), (config.avatar.pose_channels,))
        for name, (wanted, lengths, width) in needed.items():
            value: Tensor | None = getattr(self, name)
            if value is None:
                if wanted:
                    raise ValueError(f"this student needs Conditions.{name}, got None")
                continue
            if wanted == 0:
                raise ValueError(f"this student has no use for Conditions.{name}; pass None")
            if value.shape[1] not in lengths or tuple(value.shape[2 : 2 + len(width)]) != width:
                raise ValueError(
                    f"Conditions.{name} is {tuple(value.shape)}; expected [B, "
                    f"{' or '.join(map(str, lengths))}, {', '.join(map(str, width))}, ...]"
                )
        if self.base is not None and config.prediction != "sample":
            raise ValueError("Conditions.base is for students that predict the sample")

    def part(self, start: int, frames: int, track_stride: int = 4) -> Conditions:
        """The conditions of frames `start`..`start + frames`."""
        values: dict[str, Tensor | None] = {}
        for item in fields(self):
            value: Tensor | None = getattr(self, item.name)
            step = track_stride if item.name == "tracks" else 1
            fixed = value is None or (item.name in ("channels", "base") and value.shape[1] == 1)
            values[item.name] = (
                value
                if fixed or value is None
                else value[:, start * step : (start + frames) * step]
            )
        return Conditions(**values)


@dataclass(frozen=True, slots=True)
class TextContext:
    """Text keys and values of every layer, [B, H, L, D] each: encode once, use until it changes.

    `images` are those of an image, for a student that attends to one, otherwise empty.
    """

    layers: tuple[KeysValues, ...]
    images: tuple[KeysValues, ...] = ()


def stack_conditions(parts: Sequence[Conditions]) -> Conditions:
    """Conditions of one batch from those of its rows."""
    if len(parts) == 1:
        return parts[0]
    values: dict[str, Tensor | None] = {}
    for item in fields(Conditions):
        given = [getattr(part, item.name) for part in parts]
        values[item.name] = None if given[0] is None else torch.cat(given)
    return Conditions(**values)


def stack_contexts(contexts: Sequence[TextContext]) -> TextContext:
    """The contexts of a batch's rows as one; one that all rows share stays as it is."""
    if all(context is contexts[0] for context in contexts):
        return contexts[0]
    return TextContext(
        _stacked([context.layers for context in contexts]),
        _stacked([context.images for context in contexts]),
    )


def _stacked(rows: Sequence[Sequence[KeysValues]]) -> tuple[KeysValues, ...]:
    """Layer by layer, the keys and values of all rows."""
    return tuple(
        (torch.cat([k for k, _ in layer]), torch.cat([v for _, v in layer]))
        for layer in zip(*rows, strict=True)
    )


def for_batch(layer: KeysValues, batch: int) -> KeysValues:
    """A layer's keys and values of a context for `batch` rows."""
    key, value = layer
    if key.shape[0] == batch:
        return layer
    return key.expand(batch, -1, -1, -1), value.expand(batch, -1, -1, -1)


class TrackHead(nn.Module):
    """Track maps to channels beside the latents (after MotionStream, arXiv 2511.01266, 3.1).

    One latent frame takes exactly its own `stride` maps, so a stream in chunks equals one pass.
    Its last layer starts at zero: an untrained head changes nothing.
    """

    def __init__(self, channels: int, features: int, stride: int, *, bias: bool = True) -> None:
        super().__init__()
        kernel = (stride, 1, 1)
        self.temporal = nn.Conv3d(channels, features, kernel, stride=kernel, bias=bias)
        self.mix = nn.Conv3d(features, features, 1, bias=bias)
        for parameter in self.mix.parameters():
            nn.init.zeros_(parameter)

    def forward(self, tracks: Tensor) -> Tensor:
        """[B, F, features, h, w] of `tracks` [B, stride * F, channels, h, w]."""
        return self.mix(self.temporal(tracks.transpose(1, 2))).transpose(1, 2)


class ImageEmbedding(nn.Module):
    """Features of an image to tokens of model width (Wan 2.1 image to video)."""

    def __init__(self, image_dim: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Sequential(
            nn.LayerNorm(image_dim),
            nn.Linear(image_dim, image_dim),
            nn.GELU(),
            nn.Linear(image_dim, dim),
            nn.LayerNorm(dim),
        )

    def forward(self, features: Tensor) -> Tensor:
        """[B, N, d] of `features` [B, N, image_dim]."""
        return self.proj(features)


class AudioEmbedding(nn.Module):
    """Audio tokens to model width, with a learned place for each token of a frame."""

    def __init__(self, tokens: int, audio_dim: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Linear(audio_dim, dim)
        self.place = nn.Parameter(torch.randn(tokens, dim) * 0.02)

    def forward(self, audio: Tensor) -> Tensor:
        """[B, F, A, d] of `audio` [B, F, A, audio_dim]."""
        return self.proj(audio) + self.place
