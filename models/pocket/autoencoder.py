"""Autoencoder with explicit motion latents and a decoder that warps pictures of a look.

A look has three pictures: the reference; the same face with open mouth and closed eyes, which has
the teeth, tongue and lids that the reference hides; and the plate, which is what lies behind its
person or things. The difference to the plate is a matte, so what moves takes its own edge along
and uncovers the plate. A frame's latent is [28, 8, 8]: 8 channels hold the backward flow to the
reference on a 16x16 grid (2x2 cells folded into channels), 8 what the flow to the open picture
adds to it, 12 are learned. Flow that is given, not discovered, is what makes so small a decoder
sharp. Nobody knows what lies behind a person on a picture that somebody brings: all of it is drawn
in front of a blurred copy of itself. Where the camera pans, the second picture is the plate, and
the flow to it is one way for all of it: how far the camera has gone. The coarse flow is upsampled
by a learned convex combination of its 3x3 neighbours (RAFT, arXiv 2003.12039, section 3.3), so that
two things moving apart keep a crisp edge between them. Pictures have twice the size of a frame:
sampling between their pixels does not blur.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MOTION_CHANNELS = 8
OPEN_CHANNELS = 8
LEARNED_CHANNELS = 12
GIVEN_CHANNELS = MOTION_CHANNELS + OPEN_CHANNELS
LATENT_CHANNELS = GIVEN_CHANNELS + LEARNED_CHANNELS
LATENT_SIZE = 8
FLOW_SIZE = 16
FRAME_SIZE = 192
PICTURE_SIZE = 2 * FRAME_SIZE
WIDTHS = (64, 96, 128)
# pixels of a cell of the finest feature grid, of the grid of upsampled flow, on which the finest
# features see both pictures, and of the grid of masks and flow details
_CELL, _SEEN, _DETAIL = 6, 3, 2
_SUB = _CELL // _DETAIL
CHOICE_OFFSET = -6.0
"""The logit of drawing from the open picture, in an untrained decoder: it does not."""
OWN_CELL = 3.0
"""What the own cell's weight is lifted by in `convex_upsample`."""
SHOWN = 0.982
"""sigmoid(4): an untrained decoder shows what the flow to the reference says."""
_SHUT = 0.004
"""The open picture is drawn from this share on, so that most of a frame need not look at it."""

# a reference pixel is in front where it differs from the plate by more than this (-1..1 scale)
_MATTE_FROM, _MATTE_TO = 0.03, 0.12
_BLUR = 48


class Pictures(NamedTuple):
    """Looks' pictures in -1..1 [B, 3, 384, 384]; where `flat` [B], the plate is not known.

    Where the camera `pans` [B], `opened` is the plate.
    """

    reference: Tensor
    opened: Tensor
    plate: Tensor
    flat: Tensor
    pans: Tensor

    @classmethod
    def without_plate(cls, reference: Tensor, opened: Tensor) -> Pictures:
        """Pictures of looks of which nobody knows what is behind them."""
        flat = torch.ones(len(reference), dtype=torch.bool, device=reference.device)
        return cls(reference, opened, reference, flat, ~flat)

    def behind(self) -> Tensor:
        """What lies behind persons and things [B, 3, 384, 384]; colours alone if it is unknown."""
        flat = self.flat[:, None, None, None]
        return torch.where(flat, blurred(self.reference), self.plate)

    def select(self, index: Tensor | slice) -> Pictures:
        """The pictures of some batch rows."""
        return Pictures(*(t[index] for t in self))


class ReferenceFeatures(NamedTuple):
    """A look's pictures and features of them on grids of 32, 16 and 8 cells.

    `prepare` [B, 4, 384, 384] is the reference times its matte, and the matte; `opened` the same of
    the picture with open mouth. `plate` [B, 3, 192, 192]. Where the camera `pans` [B, 1, 1, 1],
    `opened` is the plate, all of it.
    """

    front: Tensor
    opened: Tensor
    plate: Tensor
    pans: Tensor
    fine: Tensor
    middle: Tensor
    coarse: Tensor

    def select(self, index: Tensor | slice) -> ReferenceFeatures:
        """The features of some batch rows."""
        return ReferenceFeatures(*(t[index] for t in self))

    def expand(self, batch: int) -> ReferenceFeatures:
        """One reference seen by `batch` frames, without a copy."""
        return ReferenceFeatures(*(t.expand(batch, -1, -1, -1) for t in self))


class Window(NamedTuple):
    """The part of a frame that is decoded, in cells of the latent grid."""

    top: int
    left: int
    rows: int
    columns: int


WHOLE_FRAME = Window(0, 0, LATENT_SIZE, LATENT_SIZE)


class Decoded(NamedTuple):
    """Frames in -1..1 [B, 3, H, W] and how they came about, on a grid of 2x2 pixels.

    `flow` and `open_flow` [B, 2, H/2, W/2], pixels, point into the two pictures; `choice`
    [B, 1, H/2, W/2] is the logit of drawing from the open one.
    """

    frames: Tensor
    flow: Tensor
    open_flow: Tensor
    choice: Tensor


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


def warp(source: Tensor, flow: Tensor, window: Window = WHOLE_FRAME) -> Tensor:
    """`source` [B, C, s, s], a whole picture, sampled where `flow` [B, 2, h, w] points.

    `flow` is in pixels of a frame and covers `window` of it; each of its cells is sampled at its
    centre plus its flow.
    """
    height, width = flow.shape[-2:]
    step = FRAME_SIZE // LATENT_SIZE
    rows = (torch.arange(height, device=flow.device) + 0.5) * (window.rows * step / height)
    columns = (torch.arange(width, device=flow.device) + 0.5) * (window.columns * step / width)
    grid_x = (columns + window.left * step + flow[:, 0]) * (2 / FRAME_SIZE) - 1
    grid_y = (rows[:, None] + window.top * step + flow[:, 1]) * (2 / FRAME_SIZE) - 1
    grid = torch.stack([grid_x, grid_y], -1).to(source.dtype)
    return F.grid_sample(source, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _resize(x: Tensor, factor: float) -> Tensor:
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


def _resize_to(x: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(x, tuple(size), mode="bilinear", align_corners=False)


def plate_of_size(plate: Tensor, size: int) -> Tensor:
    """A plate [B, 3, 384, 384] in frames of `size` pixels, sampled as fronts are."""
    return _resize_to(plate, (size, size))


def fold_motion(flow: Tensor, scale: Tensor) -> Tensor:
    """Coarse flow in pixels [B, 2, g, g] -> motion latents [B, 8, g/2, g/2]; `scale` px [B]."""
    return F.pixel_unshuffle(flow / scale[:, None, None, None], 2)


def fold_opening(flow: Tensor, open_flow: Tensor, scale: Tensor, pans: Tensor) -> Tensor:
    """What the flow to the open picture adds, as `fold_motion`; all of it where the camera pans."""
    return fold_motion(torch.where(pans, open_flow, open_flow - flow), scale)


def unfold_motion(latents: Tensor, scale: Tensor, pans: Tensor) -> tuple[Tensor, Tensor]:
    """Coarse flows in pixels to the reference and to the open picture, from whole latents.

    A camera moves all of the plate alike: where it pans, the mean of all cells is the way.
    """
    motion, opening = latents[:, :GIVEN_CHANNELS].split([MOTION_CHANNELS, OPEN_CHANNELS], 1)
    to_pixels = scale[:, None, None, None]
    flow = F.pixel_shuffle(motion, 2) * to_pixels
    added = F.pixel_shuffle(opening, 2) * to_pixels
    whole = added.mean((2, 3), keepdim=True).expand_as(added)
    return flow, torch.where(pans, whole, flow + added)


class FrameEncoder(nn.Module):
    """Frame and its warped reference -> the learned channels.

    A stream uses it for one frame of each look: the picture itself, at rest.
    """

    def __init__(self) -> None:
        super().__init__()
        a, b, c = WIDTHS
        self.layers = nn.Sequential(
            nn.PixelUnshuffle(_CELL),
            nn.Conv2d(9 * _CELL**2, a, 1),
            Residual(a),
            _down(a, b),
            Residual(b),
            _down(b, c),
            Residual(c),
            nn.Conv2d(c, LEARNED_CHANNELS, 1),
        )

    def forward(
        self,
        frames: Tensor,
        reference: ReferenceFeatures,
        flow: Tensor,
        open_flow: Tensor,
        scale: Tensor,
        window: Window = WHOLE_FRAME,
    ) -> Tensor:
        """Latents [B, 28, h/24, w/24] of `frames` [B, 3, h, w]; flows px [B, 2, h/12, w/12]."""
        plate = _cut(reference.plate, window)
        closed, opened, _ = _layers(
            reference, plate, _resize(flow, 12), _resize(open_flow, 12), window
        )
        learned = self.layers(torch.cat([frames, closed, opened], 1))
        opening = fold_opening(flow, open_flow, scale, reference.pans)
        return torch.cat([fold_motion(flow, scale), opening, learned], 1)


def at_rest(
    encoder: FrameEncoder, images: Tensor, features: ReferenceFeatures, scale: Tensor
) -> Tensor:
    """The latents [B, 28, 8, 8] of the reference pictures [B, 3, 384, 384] themselves.

    What the flow to the open picture adds is left at zero: it is a part of the motion.
    """
    still = images.new_zeros(len(images), 2, FLOW_SIZE, FLOW_SIZE)
    return encoder(F.avg_pool2d(images, 2), features, still, still, scale)


class WarpDecoder(nn.Module):
    """Latents and a look's pictures -> frames."""

    def __init__(self) -> None:
        super().__init__()
        a, b, c = WIDTHS
        self.see_pictures = nn.Sequential(
            nn.PixelUnshuffle(_CELL), nn.Conv2d(6 * _CELL**2, a, 3, padding=1), Residual(a)
        )
        self.ref_middle = nn.Sequential(_down(a, b), Residual(b))
        self.ref_coarse = nn.Sequential(_down(b, c), Residual(c))
        self.enter = nn.Conv2d(LATENT_CHANNELS, c, 3, padding=1)
        self.at_coarse = Residual(c)
        self.to_middle = _up(c, b)
        self.at_middle = Residual(b)
        self.to_fine = _up(b, a)
        self.weights = nn.Conv2d(a, 72, 3, padding=1)
        self.see_warped = nn.Conv2d(6 * (_CELL // _SEEN) ** 2, a, 1)
        self.at_fine = Residual(a)
        # per 2x2 px: blend with the residual, blend of the pictures, two flow details; per px:
        # residual colour
        self.details = nn.Conv2d(a, 6 * _SUB**2, 3, padding=1)
        self.colours = nn.Conv2d(a, 3 * _CELL**2, 1)
        for layer in (self.weights, self.details, self.colours):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)  # pyright: ignore[reportArgumentType]

    def encode_reference(self, pictures: Pictures) -> ReferenceFeatures:
        """Features of looks' pictures; once per look."""
        image = pictures.reference
        opened = pictures.opened
        flat = pictures.flat[:, None, None, None]
        plate = pictures.behind()
        small = F.avg_pool2d(torch.cat([image, opened], 1), 2)
        fine = self.see_pictures(small)
        middle = self.ref_middle(fine)
        coarse = self.ref_coarse(middle)
        behind = F.avg_pool2d(plate, 2)
        pans = pictures.pans[:, None, None, None]
        fronts = cut_out(image, plate, flat), cut_out(opened, plate, flat | pans)
        return ReferenceFeatures(*fronts, behind, pans, fine, middle, coarse)

    def forward(
        self,
        latents: Tensor,
        reference: ReferenceFeatures,
        scale: Tensor,
        window: Window = WHOLE_FRAME,
        plate: Tensor | None = None,
    ) -> Decoded:
        """Decode [B, 28, h, w] into frames [B, 3, 24h, 24w]; `scale` px per motion unit [B].

        Or whole frames of the size of `plate` [B, 3, s, s], which is what lies behind (`behind`) at
        that size: pictures are sampled as densely then, and of the rest the same is shown larger.
        """
        coarse, open_coarse = unfold_motion(latents, scale, reference.pans)
        x = self.enter(latents) + warp(reference.coarse, F.avg_pool2d(coarse, 2), window)
        x = self.to_middle(self.at_coarse(x)) + warp(reference.middle, coarse, window)
        x = self.to_fine(self.at_middle(x))
        weights = self.weights(F.relu(x)).split(36, 1)
        flow = convex_upsample(coarse, weights[0])
        open_flow = convex_upsample(open_coarse, weights[1])
        x = x + warp(reference.fine, F.avg_pool2d(flow, 2), window)
        plate_seen = F.avg_pool2d(_cut(reference.plate, window), _SEEN)
        shown = _layers(reference, plate_seen, flow, open_flow, window)[:2]
        seen = [F.pixel_unshuffle(layer, _CELL // _SEEN) for layer in shown]
        x = self.at_fine(x + self.see_warped(torch.cat(seen, 1)))
        flow, open_flow = _resize(flow, _SEEN / _DETAIL), _resize(open_flow, _SEEN / _DETAIL)
        fine = F.pixel_shuffle(self.details(x), _SUB)
        flow = flow + 2 * fine[:, 2:4]
        open_flow = torch.where(reference.pans, open_flow, open_flow + 2 * fine[:, 4:6])
        if plate is None:
            plate = _cut(reference.plate, window)
        size = plate.shape[-2:]
        keep = torch.sigmoid(_resize_to(4 - 4 * fine[:, :1], size)) / SHOWN
        choice = 4 * fine[:, 1:2] + CHOICE_OFFSET
        use_open = open_share(torch.sigmoid(_resize_to(choice, size)))
        flows = _resize_to(flow, size), _resize_to(open_flow, size)
        closed, opened, behind = _layers(reference, plate, *flows, window)
        layered = closed + (opened - closed) * use_open
        colour = F.pixel_shuffle(self.colours(x), _CELL)
        if colour.shape[-2:] != size:
            colour = _resize_to(colour, size)
        frames = behind + (layered - behind) * keep + colour
        return Decoded(frames, flow, open_flow, choice)


def open_share(chosen: Tensor) -> Tensor:
    """How much of the open picture is drawn where it is chosen so much (0..1)."""
    return ((chosen - _SHUT) * (1 / (1 - _SHUT))).clamp(min=0)


def _cut(picture: Tensor, window: Window) -> Tensor:
    """A window of whole pictures [B, C, 192, 192]."""
    step = FRAME_SIZE // LATENT_SIZE
    top, left = window.top * step, window.left * step
    return picture[..., top : top + window.rows * step, left : left + window.columns * step]


def cut_out(image: Tensor, plate: Tensor, flat: Tensor) -> Tensor:
    """What stands before the plate, premultiplied, with its matte: [B, 4, H, W].

    Where `flat` [B, 1, 1, 1], no plate is known and everything stands before it.
    """
    apart = (image - plate).abs().amax(1, keepdim=True)
    matte = ((apart - _MATTE_FROM) / (_MATTE_TO - _MATTE_FROM)).clamp(0, 1)
    matte = torch.where(flat, torch.ones_like(matte), matte)
    return torch.cat([image * matte, matte], 1)


def blurred(image: Tensor) -> Tensor:
    """The colours of a picture [B, 3, H, W] without its shapes."""
    return _resize(F.avg_pool2d(image, _BLUR), _BLUR)


def composite(front: Tensor, plate: Tensor, flow: Tensor, window: Window) -> Tensor:
    """A front moved by `flow` [B, 2, h, w] over the plate of that window, [B, 3, h, w]."""
    moved = warp(front, flow, window)
    return moved[:, :3] + (1 - moved[:, 3:]) * plate


def _layers(
    reference: ReferenceFeatures, plate: Tensor, flow: Tensor, open_flow: Tensor, window: Window
) -> tuple[Tensor, Tensor, Tensor]:
    """Both pictures moved by their flows, and what is behind them; all [B, 3, h, w].

    Behind is the plate of that window, and where the camera pans it has moved.
    """
    opened = composite(reference.opened, plate, open_flow, window)
    behind = torch.where(reference.pans, opened, plate)
    return composite(reference.front, behind, flow, window), opened, behind


def convex_upsample(coarse: Tensor, logits: Tensor) -> Tensor:
    """Coarse flow [B, 2, g, g] -> [B, 2, 4g, 4g] by softmax weights over 3x3 neighbours.

    `logits` [B, 36, 2g, 2g] hold 9 weights for each of 2x2 sub-positions. Zero logits average the
    neighbourhood, so the weight of the own cell is lifted.
    """
    batch, _, rows, cols = coarse.shape
    weights = F.pixel_shuffle(logits, 2).view(batch, 9, rows, 4, cols, 4)
    own_cell = torch.zeros(9, device=logits.device, dtype=logits.dtype)
    own_cell[4] = OWN_CELL
    weights = (weights + own_cell[:, None, None, None, None]).softmax(1)
    padded = F.pad(coarse, (1, 1, 1, 1), mode="replicate")
    around = F.unfold(padded, 3).view(batch, 2, 9, rows, 1, cols, 1)
    return (around * weights[:, None]).sum(2).view(batch, 2, 4 * rows, 4 * cols)
