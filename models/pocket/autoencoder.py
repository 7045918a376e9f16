"""Autoencoder with explicit motion latents and a decoder that warps a layered reference picture.

A look has two pictures: the reference and the plate, which is what lies behind its person or
things. Their difference is a matte, so what moves takes its own edge along and uncovers the plate.
A frame's latent is [20, 8, 8]: 8 channels hold the backward flow to the reference picture on a
16x16 grid (2x2 cells folded into channels), 12 are learned. Flow that is given, not discovered,
is what makes so small a decoder sharp. The coarse flow is upsampled by a learned convex
combination of its 3x3 neighbours (RAFT, arXiv 2003.12039, section 3.3), so that two things
moving apart keep a crisp edge between them.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MOTION_CHANNELS = 8
LEARNED_CHANNELS = 12
LATENT_CHANNELS = MOTION_CHANNELS + LEARNED_CHANNELS
LATENT_SIZE = 8
FLOW_SIZE = 16
FRAME_SIZE = 128
WIDTHS = (48, 96, 128)


# a reference pixel is in front where it differs from the plate by more than this (-1..1 scale)
_MATTE_FROM, _MATTE_TO = 0.03, 0.12


class ReferenceFeatures(NamedTuple):
    """A look's pictures and features of the reference at 1/4, 1/8 and 1/16 of the frame's size.

    `front` [B, 4, H, W] is the reference times its matte, and the matte.
    """

    image: Tensor
    front: Tensor
    plate: Tensor
    quarter: Tensor
    eighth: Tensor
    sixteenth: Tensor

    def select(self, index: Tensor | slice) -> ReferenceFeatures:
        """The features of some batch rows."""
        return ReferenceFeatures(*(t[index] for t in self))

    def expand(self, batch: int) -> ReferenceFeatures:
        """One reference seen by `batch` frames, without a copy."""
        return ReferenceFeatures(*(t.expand(batch, -1, -1, -1) for t in self))


class Decoded(NamedTuple):
    """Frames in -1..1 [B, 3, H, W] and the flow that made them, pixels [B, 2, H, W]."""

    frames: Tensor
    flow: Tensor


class Residual(nn.Module):
    """Pre-activation residual block; starts as the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.relu(self.first(F.relu(x))))


def _down(inner: int, outer: int) -> nn.Conv2d:
    return nn.Conv2d(inner, outer, 3, stride=2, padding=1)


def _up(inner: int, outer: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inner, 4 * outer, 1), nn.PixelShuffle(2))


def warp(source: Tensor, flow: Tensor) -> Tensor:
    """`source` [B, C, h, w] sampled at each position plus `flow` [B, 2, h, w] (its own pixels)."""
    height, width = flow.shape[-2:]
    ys = torch.arange(height, device=flow.device, dtype=flow.dtype) + 0.5
    xs = torch.arange(width, device=flow.device, dtype=flow.dtype) + 0.5
    grid_x = (xs + flow[:, 0]) * (2 / width) - 1
    grid_y = (ys[:, None] + flow[:, 1]) * (2 / height) - 1
    grid = torch.stack([grid_x, grid_y], -1)
    return F.grid_sample(source, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _resize(x: Tensor, factor: int) -> Tensor:
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


def fold_motion(flow: Tensor, scale: Tensor) -> Tensor:
    """Coarse flow in pixels [B, 2, g, g] -> motion latents [B, 8, g/2, g/2]; `scale` px [B]."""
    return F.pixel_unshuffle(flow / scale[:, None, None, None], 2)


def unfold_motion(latents: Tensor, scale: Tensor) -> Tensor:
    """The inverse of `fold_motion`, from whole latents [B, 20, h, w]."""
    return F.pixel_shuffle(latents[:, :MOTION_CHANNELS], 2) * scale[:, None, None, None]


class FrameEncoder(nn.Module):
    """Frame and its warped reference -> the learned channels. Used in training only."""

    def __init__(self) -> None:
        super().__init__()
        a, b, c = WIDTHS
        self.layers = nn.Sequential(
            nn.PixelUnshuffle(4),
            nn.Conv2d(96, a, 3, padding=1),
            Residual(a),
            _down(a, b),
            Residual(b),
            _down(b, c),
            Residual(c),
            nn.Conv2d(c, LEARNED_CHANNELS, 1),
        )

    def forward(
        self, frames: Tensor, reference: ReferenceFeatures, flow: Tensor, scale: Tensor
    ) -> Tensor:
        """Latents [B, 20, h/16, w/16] of `frames` [B, 3, h, w]; `flow` px [B, 2, h/8, w/8]."""
        warped = composite(reference, _resize(flow, 8))
        learned = self.layers(torch.cat([frames, warped], 1))
        return torch.cat([fold_motion(flow, scale), learned], 1)


class WarpDecoder(nn.Module):
    """Latents and a reference picture -> frames."""

    def __init__(self) -> None:
        super().__init__()
        a, b, c = WIDTHS
        self.ref_quarter = nn.Sequential(
            nn.PixelUnshuffle(4), nn.Conv2d(48, a, 3, padding=1), Residual(a)
        )
        self.ref_eighth = nn.Sequential(_down(a, b), Residual(b))
        self.ref_sixteenth = nn.Sequential(_down(b, c), Residual(c))
        self.enter = nn.Conv2d(LATENT_CHANNELS, c, 3, padding=1)
        self.at_sixteenth = Residual(c)
        self.to_eighth = _up(c, b)
        self.at_eighth = Residual(b)
        self.to_quarter = _up(b, a)
        self.weights = nn.Conv2d(a, 36, 3, padding=1)
        self.see_warped = nn.Conv2d(48, a, 1)
        self.at_quarter = nn.Sequential(Residual(a), Residual(a))
        # per 4x4 px: 48 residual colour, 16 blend, 32 flow detail
        self.leave = nn.Conv2d(a, 96, 3, padding=1)
        for layer in (self.weights, self.leave):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)  # pyright: ignore[reportArgumentType]

    def encode_reference(self, image: Tensor, plate: Tensor) -> ReferenceFeatures:
        """Features of reference pictures and plates in -1..1 [B, 3, H, W]; once per look."""
        quarter = self.ref_quarter(image)
        eighth = self.ref_eighth(quarter)
        sixteenth = self.ref_sixteenth(eighth)
        return ReferenceFeatures(image, cut_out(image, plate), plate, quarter, eighth, sixteenth)

    def forward(self, latents: Tensor, reference: ReferenceFeatures, scale: Tensor) -> Decoded:
        """Decode [B, 20, h, w] into frames [B, 3, 16h, 16w]; `scale` px per motion unit [B]."""
        coarse = unfold_motion(latents, scale)
        x = self.enter(latents) + warp(reference.sixteenth, F.avg_pool2d(coarse, 2) / 16)
        x = self.to_eighth(self.at_sixteenth(x)) + warp(reference.eighth, coarse / 8)
        x = self.to_quarter(self.at_eighth(x))
        half_flow = convex_upsample(coarse, self.weights(F.relu(x)))
        full_flow = _resize(half_flow, 2)
        x = x + warp(reference.quarter, F.avg_pool2d(half_flow, 2) / 4)
        x = x + self.see_warped(F.pixel_unshuffle(composite(reference, full_flow), 4))
        colour, blend, detail = self.leave(self.at_quarter(x)).split([48, 16, 32], 1)
        flow = full_flow + 2 * F.pixel_shuffle(detail, 4)
        # sigmoid(4)/0.982 = 1: an untrained decoder shows what the flow says
        keep = torch.sigmoid(4 - 4 * F.pixel_shuffle(blend, 4)) / 0.982
        layered = composite(reference, flow)
        frames = reference.plate + (layered - reference.plate) * keep + F.pixel_shuffle(colour, 4)
        return Decoded(frames, flow)


def cut_out(image: Tensor, plate: Tensor) -> Tensor:
    """What stands before the plate, premultiplied, with its matte: [B, 4, H, W]."""
    apart = (image - plate).abs().amax(1, keepdim=True)
    matte = ((apart - _MATTE_FROM) / (_MATTE_TO - _MATTE_FROM)).clamp(0, 1)
    return torch.cat([image * matte, matte], 1)


def composite(reference: ReferenceFeatures, flow: Tensor) -> Tensor:
    """The front moved by `flow` [B, 2, H, W] over the plate, [B, 3, H, W]."""
    front = warp(reference.front, flow)
    return front[:, :3] + (1 - front[:, 3:]) * reference.plate


def convex_upsample(coarse: Tensor, logits: Tensor) -> Tensor:
    """Coarse flow [B, 2, g, g] -> [B, 2, 4g, 4g] by softmax weights over 3x3 neighbours.

    `logits` [B, 36, 2g, 2g] hold 9 weights for each of 2x2 sub-positions. Zero logits average the
    neighbourhood, so the weight of the own cell is lifted.
    """
    batch, _, rows, cols = coarse.shape
    weights = F.pixel_shuffle(logits, 2).view(batch, 9, rows, 4, cols, 4)
    own_cell = torch.zeros(9, device=logits.device, dtype=logits.dtype)
    own_cell[4] = 3.0
    weights = (weights + own_cell[:, None, None, None, None]).softmax(1)
    padded = F.pad(coarse, (1, 1, 1, 1), mode="replicate")
    around = F.unfold(padded, 3).view(batch, 2, 9, rows, 1, cols, 1)
    return (around * weights[:, None]).sum(2).view(batch, 2, 4 * rows, 4 * cols)
