"""The decoder as streams use it: whole frames as pixels, in less than half of the passes.

It computes what `autoencoder.WarpDecoder` does, which training needs as it is. A frame is 32 x 32
cells of the finest features. Grids of n x n values a cell are kept as n x n planes: plane (i, j)
has those at row i and column j of each cell. So pixel shuffles are no copies, and bilinear
enlarging is a weighted mean of neighbouring planes. Only a row of cells stands outside of the
planes, for what is sampled next then lies near what was sampled before: such tensors are
[T, 32, C, n, n, 32], row of cells, channel, row and column in the cell, column of cells.

Both pictures are mixed before they are laid over the plate: their colours are multiplied by their
mattes already. What is as fine as pixels is made frame by frame, so that it stays in a core's own
cache, and blocks of memory stay small enough for the allocator to keep.

Frames may be larger than those that it was trained for. Most of what they show is sampled from
pictures of 384 x 384 pixels, and that as densely as it has pixels; what the features say, where
pixels come from and by what colours they differ, is enlarged.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .autoencoder import (
    CHOICE_OFFSET,
    FLOW_SIZE,
    FRAME_SIZE,
    OWN_CELL,
    SHOWN,
    ReferenceFeatures,
    Residual,
    WarpDecoder,
    open_share,
    unfold_motion,
    warp,
)

_CELLS = 32
_SEEN, _HALF, _FULL = 2, 3, 6
# 3 x 3 cells of the coarse flow
_NEAR = 9
# grid_sample counts from -1 to 1
_TO_GRID = 2 / FRAME_SIZE
_LEVELS = 127.5


class FrameDecoder:
    """`decoder` for streams; convolutions are made in `dtype`, the rest in float32 or better.

    Frames are of `size` x `size` pixels, a multiple of 32.
    """

    def __init__(
        self,
        decoder: WarpDecoder,
        dtype: torch.dtype = torch.float32,
        *,
        size: int = FRAME_SIZE,
    ) -> None:
        self._dtype = dtype
        self._pixels_of_cell = full = size // _CELLS
        self._wide = wide = torch.promote_types(dtype, torch.float32)
        self._enter = _Convolution(decoder.enter, dtype)
        self._at_coarse = _Residual(decoder.at_coarse, dtype)
        self._to_middle = _Up(decoder.to_middle, dtype)
        self._at_middle = _Residual(decoder.at_middle, dtype)
        self._to_fine = _Up(decoder.to_fine, dtype)
        self._at_fine = _Residual(decoder.at_fine, dtype)
        self._neighbours = _neighbours(decoder.weights, dtype)
        self._details = _details(decoder.details, dtype)
        seen, colours = _matrix(decoder.see_warped), _matrix(decoder.colours)
        self._see = seen[0].T.to(wide), seen[1].to(wide)
        self._colours = colours[0].to(wide) * _LEVELS, (colours[1].to(wide) * _LEVELS)[:, None]
        # of both flows
        self._centres = {n: _centres(n, wide).repeat(1, 2, 1, 1, 1) for n in (_SEEN, full)}

    @torch.no_grad()
    def __call__(
        self,
        latents: Tensor,
        reference: ReferenceFeatures,
        scale: Tensor,
        plate: Tensor | None = None,
    ) -> Tensor:
        """uint8 RGB frames [T, size, size, 3] of latents [T, 28, 8, 8], all of one look.

        `reference` and `scale` are the look's, of batch 1, and so is `plate` [1, 3, size, size],
        what lies behind; None where frames have the size of that of `reference`.
        """
        count = len(latents)
        shown = reference.expand(count)
        coarse, open_coarse = unfold_motion(latents, scale.expand(count), shown.pans)
        x = self._enter(latents.permute(0, 2, 3, 1).to(self._dtype))
        x = _plus(x, warp(shown.coarse, F.avg_pool2d(coarse, 2)))
        x = _plus(self._to_middle(self._at_coarse(x)), warp(shown.middle, coarse))
        x = self._to_fine(self._at_middle(x))
        flows = self._convex_upsample(torch.cat((coarse, open_coarse), 1), x)
        near = flows[:, :, :2].mean((3, 4))
        x.add_(_gathered(reference.fine, near).view(x.shape))
        flows.mul_(_TO_GRID)
        x.add_(self._seen(reference, flows).view(x.shape))
        x = self._at_fine(x)
        flows = _enlarged(flows, _HALF)
        planes = self._planes(self._details(x)).unflatten(2, (-1, _HALF, _HALF))
        planes[:, :, :4] += flows
        if reference.pans:
            planes[:, :, 2:4] = flows[:, :, 2:]
        behind = reference.plate if plate is None else plate
        return self._pixels(x.to(self._wide), planes, reference, behind[0])

    def _planes(self, maps: Tensor) -> Tensor:
        """[T, 32, C, 32] of maps [T, 32, 32, C]."""
        planes = maps.transpose(2, 3)
        return maps.new_empty(planes.shape, dtype=self._wide).copy_(planes)

    def _convex_upsample(self, coarse: Tensor, x: Tensor) -> Tensor:
        """`autoencoder.convex_upsample` of both flows, px [T, 32, 4, 2, 2, 32].

        `coarse` [T, 4, 16, 16]; `x` [T, 32, 32, C] are the features that tell its weights.
        """
        logits = self._planes(self._neighbours(x.relu()))
        weights = logits.view(*logits.shape[:2], _NEAR, -1).softmax(2)
        weights = weights.view(*logits.shape[:2], _NEAR, 2, 1, 4, _CELLS)
        around = F.unfold(F.pad(coarse, (1, 1, 1, 1), mode="replicate"), 3)
        around = around.view(-1, 2, 2, _NEAR, FLOW_SIZE, 1, FLOW_SIZE, 1)
        around = around.expand(-1, -1, -1, -1, -1, 2, -1, 2).permute(0, 4, 5, 3, 1, 2, 6, 7)
        around = around.reshape(-1, _CELLS, _NEAR, 2, 2, 1, _CELLS)
        flows = weights[:, :, 0] * around[:, :, 0]
        for near in range(1, _NEAR):
            flows.addcmul_(weights[:, :, near], around[:, :, near])
        return flows.view(-1, _CELLS, 4, 2, 2, _CELLS)

    def _seen(self, reference: ReferenceFeatures, flows: Tensor) -> Tensor:
        """Features [T * 32, 32, C] of both pictures moved by `flows` [T, 32, 4, 2, 2, 32]."""
        plate = _cells(F.avg_pool2d(reference.plate[0], _FULL // _SEEN), _SEEN).repeat(
            len(flows), 1, 1, 1
        )
        grid = (flows + self._centres[_SEEN]).flatten(0, 1).flatten(2, 3)
        front = _sample(reference.front, grid[:, :2])
        opened = _over(_sample(reference.opened, grid[:, 2:]), plate)
        front = _over(front, opened if reference.pans else plate)
        layers = torch.cat((front, opened), 1).flatten(1, 2).transpose(1, 2)
        weight, bias = self._see
        return torch.baddbmm(bias, layers, weight.expand(len(layers), -1, -1))

    def _pixels(
        self, x: Tensor, planes: Tensor, reference: ReferenceFeatures, plate: Tensor
    ) -> Tensor:
        """Frames of features `x` [T, 32, 32, C] and of what `_details` tells, as planes."""
        full = self._pixels_of_cell
        frames = x.new_empty((len(x), *plate.shape[1:], 3), dtype=torch.uint8)
        plate, pans = _cells(plate, full), bool(reference.pans)
        weight, bias = self._colours
        under = (bias + _LEVELS).expand(_CELLS, -1, _CELLS)
        larger = full != _FULL
        if not (pans or larger):
            under = torch.add(under, plate.flatten(1, 2), alpha=_LEVELS)
        for features, told, frame in zip(x, planes, frames, strict=True):
            fine = _enlarged(told, full) if larger else _six_of_three(told)
            grid = fine[:, :4].add_(self._centres[full]).flatten(2, 3)
            keep, use_open = fine[:, 4:].sigmoid_().flatten(2, 3).split(1, 1)
            own = (weight @ features.flatten(0, 1).T).view(-1, _CELLS, _CELLS).transpose(0, 1)
            levels = (under + own).view(_CELLS, 3, _FULL, _FULL, _CELLS)
            levels = (_enlarged(levels, full) if larger else levels).view(plate.shape)
            if larger and not pans:
                levels.add_(plate, alpha=_LEVELS)
            use_open = open_share(use_open)
            front = _sample(reference.front, grid[:, :2])
            if pans:
                behind = _over(_sample(reference.opened, grid[:, 2:]), plate)
                levels.add_(behind, alpha=_LEVELS)
                keep = keep * (1 - use_open)
            else:
                behind = plate
                # mouth and eyes stand in few rows of cells
                rows = use_open.flatten(1).amax(1).nonzero()[:, 0]
                opened = _sample(reference.opened, grid[rows, 2:])
                front[rows] = torch.lerp(front[rows], opened, use_open[rows])
            colours = front[:, :3].addcmul_(front[:, 3:], behind, value=-1)
            levels.addcmul_(colours, keep, value=_LEVELS / SHOWN)
            shown = levels.round_().clamp_(0, 255).to(torch.uint8)
            shown = shown.view(_CELLS, 3, full, full, _CELLS).permute(0, 2, 4, 3, 1)
            frame.view(shown.shape).copy_(shown)
        return frames


class _Convolution:
    """A 3x3 convolution of maps [T, h, w, C]."""

    def __init__(self, layer: nn.Conv2d, dtype: torch.dtype) -> None:
        assert layer.bias is not None
        weight = layer.weight.detach().to(dtype)
        self._weight = weight.to(memory_format=torch.channels_last)
        self._bias = layer.bias.detach().to(dtype)

    def __call__(self, x: Tensor) -> Tensor:
        made = F.conv2d(x.permute(0, 3, 1, 2), self._weight, self._bias, padding=1)
        return made.permute(0, 2, 3, 1)


class _Residual:
    """`autoencoder.Residual` of maps [T, h, w, C]."""

    def __init__(self, block: Residual, dtype: torch.dtype) -> None:
        self._first = _Convolution(block.first, dtype)
        self._second = _Convolution(block.second, dtype)

    def __call__(self, x: Tensor) -> Tensor:
        return self._second(self._first(x.relu()).relu_()).add_(x)


class _Up:
    """A 1x1 convolution and a pixel shuffle by 2, of maps [T, h, w, C]."""

    def __init__(self, layers: nn.Module, dtype: torch.dtype) -> None:
        assert isinstance(layers, nn.Sequential)
        weight, bias = _matrix(layers[0])
        # the place in the 2x2 first, then the channel
        self._weight = weight.unflatten(0, (-1, 4)).transpose(0, 1).flatten(0, 1).to(dtype)
        self._bias = bias.unflatten(0, (-1, 4)).T.flatten().to(dtype)

    def __call__(self, x: Tensor) -> Tensor:
        made = F.linear(x, self._weight, self._bias).unflatten(3, (2, 2, -1))
        return made.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def _matrix(layer: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight [M, K] and bias of a 1x1 convolution."""
    assert isinstance(layer, nn.Conv2d) and layer.bias is not None
    return layer.weight.detach().flatten(1), layer.bias.detach()


def _like(layer: nn.Conv2d, weight: Tensor, bias: Tensor) -> nn.Conv2d:
    made = nn.Conv2d(layer.in_channels, len(weight), 3, padding=1, device="meta")
    made.weight, made.bias = nn.Parameter(weight), nn.Parameter(bias)
    return made


def _neighbours(layer: nn.Conv2d, dtype: torch.dtype) -> _Convolution:
    """The weights of `convex_upsample`: 9 neighbours of each flow and place, in this order.

    With what lifts the own cell.
    """
    assert layer.bias is not None

    def ordered(values: Tensor) -> Tensor:
        return values.detach().unflatten(0, (2, _NEAR, 4)).transpose(0, 1)

    bias = ordered(layer.bias).clone()
    bias[_NEAR // 2] += OWN_CELL
    return _Convolution(_like(layer, ordered(layer.weight).flatten(0, 2), bias.flatten()), dtype)


def _details(layer: nn.Conv2d, dtype: torch.dtype) -> _Convolution:
    """Details of both flows, on the grid of `_sample`; logits of what is kept, and of opening."""
    assert layer.bias is not None
    order = [2, 3, 4, 5, 0, 1]
    gain = torch.tensor([2 * _TO_GRID] * 4 + [-4.0, 4.0])
    offset = torch.tensor([0.0] * 4 + [4.0, CHOICE_OFFSET])
    weight = layer.weight.detach().unflatten(0, (6, -1))[order] * gain[:, None, None, None, None]
    bias = layer.bias.detach().unflatten(0, (6, -1))[order] * gain[:, None] + offset[:, None]
    return _Convolution(_like(layer, weight.flatten(0, 1), bias.flatten()), dtype)


def _plus(x: Tensor, warped: Tensor) -> Tensor:
    """Maps `x` [T, h, w, C], to which `warped` [T, C, h, w] is added."""
    return x.add_(warped.permute(0, 2, 3, 1))


def _cells(picture: Tensor, n: int) -> Tensor:
    """[32, C, n * n, 32] of a picture [C, 32n, 32n]."""
    parts = picture.unflatten(1, (_CELLS, n)).unflatten(3, (_CELLS, n))
    return parts.permute(1, 0, 2, 4, 3).flatten(2, 3)


def _centres(n: int, dtype: torch.dtype) -> Tensor:
    """Where the values of all cells stand on the grid of `_sample` [32, 2, n, n, 32]."""
    line = (torch.arange(_CELLS * n, dtype=torch.float64) + 0.5) * (2 / (_CELLS * n)) - 1
    across = line.view(_CELLS, n).T.expand(_CELLS, n, n, _CELLS)
    down = line.view(_CELLS, n, 1, 1).expand(_CELLS, n, n, _CELLS)
    return torch.stack((across, down), 1).to(dtype)


def _sample(picture: Tensor, grid: Tensor) -> Tensor:
    """[R, C, N, 32] of `picture` [1, C, h, w] at `grid` [R, 2, N, 32], x and y in -1..1."""
    pictures = picture.expand(len(grid), -1, -1, -1)
    places = grid.permute(0, 2, 3, 1)
    return F.grid_sample(pictures, places, padding_mode="border", align_corners=False)


def _gathered(features: Tensor, flow: Tensor) -> Tensor:
    """`features` [1, C, 32, 32], warped by `flow` px [T, 32, 2, 32], as rows [T * 32 * 32, C].

    What grid_sample gives, of which all channels of a place are read at once.
    """
    last = _CELLS - 1
    line = torch.arange(_CELLS, dtype=flow.dtype)
    across = (flow[:, :, 0].div(_FULL) + line).clamp_(0, last)
    down = (flow[:, :, 1].div(_FULL) + line[:, None]).clamp_(0, last)
    left, top = across.floor().clamp_(max=last - 1), down.floor().clamp_(max=last - 1)
    right, below = across - left, down - top
    first = (top * _CELLS + left).int().flatten()
    rows = torch.stack((first, first + 1, first + _CELLS, first + _CELLS + 1), 1)
    above = 1 - below
    upper, lower = above * right, below * right
    weights = torch.stack((above - upper, upper, below - lower, lower), 3).view(-1, 4)
    table = features[0].flatten(1).T.contiguous()
    return F.embedding_bag(rows, table, mode="sum", per_sample_weights=weights)


def _over(front: Tensor, behind: Tensor) -> Tensor:
    """Colours of what stands before `behind`; `front` [R, 4, ...] is multiplied by its matte."""
    return (front[:, :3] + behind).addcmul_(front[:, 3:], behind, value=-1)


def _with_rows_around(planes: Tensor) -> Tensor:
    """Planes [..., 32, C, n, m, 32] -> n + 2 rows a cell: those before and behind it as well."""
    n = planes.shape[-3]
    made = planes.new_empty((*planes.shape[:-3], n + 2, *planes.shape[-2:]))
    made[..., 1:-1, :, :] = planes
    made[..., 1:, :, 0, :, :] = planes[..., :-1, :, -1, :, :]
    made[..., 0, :, 0, :, :] = planes[..., 0, :, 0, :, :]
    made[..., :-1, :, -1, :, :] = planes[..., 1:, :, 0, :, :]
    made[..., -1, :, -1, :, :] = planes[..., -1, :, -1, :, :]
    return made


def _with_columns_around(planes: Tensor) -> Tensor:
    """The same of columns, [..., 32, C, n, m, 32] -> m + 2."""
    m = planes.shape[-2]
    made = planes.new_empty((*planes.shape[:-2], m + 2, planes.shape[-1]))
    made[..., 1:-1, :] = planes
    made[..., 0, 1:] = planes[..., -1, :-1]
    made[..., 0, 0] = planes[..., 0, 0]
    made[..., -1, :-1] = planes[..., 0, 1:]
    made[..., -1, -1] = planes[..., -1, -1]
    return made


def _enlarged(planes: Tensor, n: int) -> Tensor:
    """Bilinear enlarging of planes [..., 32, C, m, m, 32] to n x n a cell."""
    for around, axis in ((_with_rows_around, -3), (_with_columns_around, -2)):
        m = planes.shape[axis]
        shape = list(planes.shape)
        shape[axis] = n
        known = around(planes)
        planes = planes.new_empty(shape)
        for place, made in enumerate(planes.unbind(axis)):
            # where it stands among those of the cell, of which the first neighbour is number -1
            at = (place + 0.5) * m / n - 0.5
            low = math.floor(at)
            first, second = known.select(axis, low + 1), known.select(axis, low + 2)
            if at - low > 0.5:
                torch.lerp(second, first, low + 1 - at, out=made)
            else:
                torch.lerp(first, second, at - low, out=made)
    return planes


def _six_of_three(planes: Tensor) -> Tensor:
    """Bilinear enlarging by 2 of planes [..., 32, C, 3, 3, 32]."""
    return _doubled(_doubled(planes, -2, -1), -3, -5)


def _doubled(planes: Tensor, axis: int, cells: int) -> Tensor:
    """The same along `axis`, rows or columns in a cell; its neighbours stand along `cells`.

    Without a copy of the neighbours: those in the cell are views of it, those beyond it of others.
    """
    last, end = planes.shape[axis] - 1, planes.shape[cells] - 1
    shape = list(planes.shape)
    shape.insert(len(shape) + axis + 1, 2)
    made = planes.new_empty(shape)
    before, behind = made.unbind(axis)
    lower, upper = planes.narrow(axis, 0, last), planes.narrow(axis, 1, last)
    torch.lerp(upper, lower, 1 / 4, out=before.narrow(axis, 1, last))
    torch.lerp(lower, upper, 1 / 4, out=behind.narrow(axis, 0, last))
    # of the values at a cell's edges, whose neighbours are in other cells or nowhere
    cells += cells < axis
    first, final = planes.select(axis, 0), planes.select(axis, last)
    before, behind = before.select(axis, 0), behind.select(axis, last)
    upper, lower = first.narrow(cells, 1, end), final.narrow(cells, 0, end)
    torch.lerp(upper, lower, 1 / 4, out=before.narrow(cells, 1, end))
    torch.lerp(lower, upper, 1 / 4, out=behind.narrow(cells, 0, end))
    before.select(cells, 0).copy_(first.select(cells, 0))
    behind.select(cells, end).copy_(final.select(cells, end))
    return made.flatten(axis - 1, axis)
