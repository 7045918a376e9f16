"""The space-filling order: every token once, neighbours in a row, compact blocks, any grid."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rollcast.kernels.block_sparse.block_select import block_boxes
from rollcast.kernels.block_sparse.gilbert import gilbert_order, inverse_order


def places(order: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    return torch.stack((order // (rows * columns), order // columns % rows, order % columns), 1)


@settings(deadline=None, max_examples=60)
@given(frames=st.integers(1, 7), rows=st.integers(1, 12), columns=st.integers(1, 12))
def test_any_grid_is_walked_in_single_steps(frames: int, rows: int, columns: int) -> None:
    """A step changes each coordinate by one at most: odd sizes need a diagonal here and there."""
    order = gilbert_order(frames, rows, columns)
    assert torch.equal(order.sort().values, torch.arange(frames * rows * columns))
    walk = places(order, rows, columns)
    assert bool(((walk[1:] - walk[:-1]).abs().amax(1) == 1).all())
    assert torch.equal(order[inverse_order(order)], torch.arange(len(order)))


@pytest.mark.parametrize(("frames", "rows", "columns"), [(1, 30, 52), (21, 30, 52), (3, 45, 80)])
def test_blocks_of_pictures_are_compact(frames: int, rows: int, columns: int) -> None:
    """Half the surface of raster blocks or less, measured as rows plus columns of a block's box."""
    curve = places(gilbert_order(frames, rows, columns), rows, columns)
    raster = places(torch.arange(frames * rows * columns), rows, columns)
    sizes = [
        float((box[:, 1] - box[:, 0] + 1)[:, 1:].sum(1).double().mean())
        for box in (block_boxes(curve, 64), block_boxes(raster, 64))
    ]
    assert sizes[0] < sizes[1] / 2


def test_the_order_is_made_once() -> None:
    assert gilbert_order(2, 5, 6) is gilbert_order(2, 5, 6)


def test_an_empty_grid_is_told() -> None:
    with pytest.raises(ValueError, match="0 x 3 x 4"):
        gilbert_order(0, 3, 4)
