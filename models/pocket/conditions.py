"""What the student is told of each chunk, built the same way in training and in streams."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .audio import CHUNK_FRAMES
from .autoencoder import (
    GIVEN_CHANNELS,
    LATENT_CHANNELS,
    LATENT_SIZE,
    WIDTHS,
    ReferenceFeatures,
    fold_motion,
)
from .motion import TRACK_CHANNELS

VISEMES = 16
EXPRESSIONS = ("smiling", "sad", "surprised", "angry", "sleepy")
# visemes, pose (5), blink, brow, expressions, "this is an avatar"
FRAME_FEATURES = VISEMES + 7 + len(EXPRESSIONS) + 1
GROUP = CHUNK_FRAMES + 1
FRAME_DIM = GROUP * FRAME_FEATURES
PACKED_CHANNELS = CHUNK_FRAMES * LATENT_CHANNELS
PACKED_TRACK_CHANNELS = 4 * TRACK_CHANNELS
REFERENCE_CHANNELS = WIDTHS[-1] + LATENT_CHANNELS
_VISEME_GAIN = 3.0
_EXPRESSION_GAIN = 2.0
# about one standard deviation each of yaw, pitch, roll, gaze x and y, blink, brow
_MOTION_SPREAD = (0.13, 0.07, 0.05, 0.17, 0.09, 0.3, 0.25)


def frame_features(visemes: Tensor, motion: Tensor, expressions: Tensor) -> Tensor:
    """Features [..., 29] of avatar frames.

    `visemes` [..., 16]; `motion` [..., 7] as `AvatarMotion.step` gives it; `expressions` [..., 5]
    levels 0..1 of `EXPRESSIONS`. Frames of a scene have features of zero.
    """
    spread = torch.tensor(_MOTION_SPREAD)
    flag = torch.ones_like(motion[..., :1])
    told = (visemes * _VISEME_GAIN, motion / spread, expressions * _EXPRESSION_GAIN, flag)
    return torch.cat(told, -1)


def grouped(features: Tensor, previous: Tensor) -> Tensor:
    """Frame features [B, T, 29] -> [B, T / 4, 5, 29]: each chunk's frames and the one before.

    `previous` [B, 29] is the frame before the first.
    """
    known = torch.cat([previous[:, None], features], 1)
    return known.unfold(1, GROUP, CHUNK_FRAMES).transpose(-1, -2)


def frame_conditions(groups: Tensor) -> tuple[Tensor, Tensor]:
    """Grouped features -> the student's frame conditions [B, F, 145] and speech tokens
    [B, F, 5, 16]."""
    return groups.flatten(2), groups[..., :VISEMES]


def pack_tracks(drawn: Tensor) -> Tensor:
    """Track maps [..., T, 5, 16, 16] -> [..., T, 20, 8, 8], on the latents' grid."""
    return F.pixel_unshuffle(drawn, 2)


def pack_latents(latents: Tensor) -> Tensor:
    """Frame latents [..., T, 28, 8, 8] -> latent frames [..., T / 4, 112, 8, 8]."""
    return latents.reshape(*latents.shape[:-4], -1, PACKED_CHANNELS, LATENT_SIZE, LATENT_SIZE)


def unpack_latents(packed: Tensor) -> Tensor:
    """The inverse of `pack_latents`."""
    shape = (*packed.shape[:-4], -1, LATENT_CHANNELS, LATENT_SIZE, LATENT_SIZE)
    return packed.reshape(shape)


def reference_channels(reference: ReferenceFeatures, latent: Tensor) -> Tensor:
    """What the student sees of the reference picture [B, 1, 156, 8, 8].

    `latent` [B, 28, 8, 8] is the picture's own normalised latent.
    """
    return torch.cat([reference.coarse, latent], 1)[:, None]


def reference_base(latent: Tensor) -> Tensor:
    """The reference picture as one packed latent frame [B, 1, 112, 8, 8]: a chunk at rest."""
    return latent.repeat(1, CHUNK_FRAMES, 1, 1)[:, None]


def moved_base(base: Tensor, flow: Tensor, pan: Tensor, scale: Tensor, spread: Tensor) -> Tensor:
    """`base` [B, 1, 112, 8, 8] with the motion of each chunk drafted into it [B, F, 112, 8, 8].

    `flow` px [B, T, 2, 16, 16] to the reference; `pan` px [B, T, 2] to the plate, zero where the
    camera never moves; `scale` [B] and `spread` [28, 1, 1] as latents are normalised.
    """
    batch, frames = flow.shape[:2]
    way = pan[..., None, None].expand_as(flow)
    scales = scale.repeat_interleave(frames)
    motion = torch.cat([fold_motion(f.flatten(0, 1), scales) for f in (flow, way)], 1)
    motion = motion / spread[:GIVEN_CHANNELS]
    learned = LATENT_CHANNELS - GIVEN_CHANNELS
    latents = F.pad(motion, (0, 0, 0, 0, 0, learned)).unflatten(0, (batch, frames))
    return base + pack_latents(latents)
