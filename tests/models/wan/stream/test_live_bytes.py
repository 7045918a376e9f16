"""What lives at once is counted on `meta` as on a device that has the bytes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rollcast.models.wan.stream.live_bytes import LiveBytes

ROWS, WIDTH = 6, 8


def blocks(x: Tensor, weight: Tensor) -> Tensor:
    """Three alike, with views, a sum in place and a change of type in each."""
    for _ in range(3):
        half = F.layer_norm(x, (WIDTH,)).to(torch.bfloat16).float()
        both = torch.cat([half, F.linear(half, weight)], dim=1)
        x = (x + both[:, :WIDTH].softmax(-1)).mul_(2.0).view(2, -1).view(ROWS, WIDTH)
    return x


def broadcasts(x: Tensor, weight: Tensor) -> Tensor:
    """The same operator with other shapes, types, strides and numbers."""
    count = torch.arange(WIDTH, device=x.device)
    kept = [x + weight[0], x + weight[:, :1].mT[:, :1], x.to(torch.float64) + 1, x + 1]
    kept += [count + True, count + 1, count + 1.0, weight + weight]
    return sum(each.sum() for each in kept) + (weight.mT + weight.mT)


def shares(x: Tensor, weight: Tensor) -> Tensor:
    """Operators that return an argument's memory."""
    for _ in range(3):
        x = torch.ops.aten._unsafe_view(x, (ROWS, WIDTH))
        x = x.contiguous().detach().reshape(-1).unsqueeze(0).view(ROWS, WIDTH)
    return x


@pytest.mark.parametrize("run", [blocks, broadcasts, shares])
def test_it_counts_on_meta_as_where_there_are_bytes(
    run: Callable[[Tensor, Tensor], Tensor],
) -> None:
    lived = []
    for device in ("cpu", "meta"):
        x = torch.randn(ROWS, WIDTH).to(device)
        weight = torch.randn(WIDTH, WIDTH).to(device)
        live = LiveBytes((x, weight))
        with live, torch.inference_mode():
            made = run(x, weight)
            lived.append((live.peak, live.now, made.shape, made.stride(), made.dtype))
            del made
        assert live.now == 0
    assert lived[0] == lived[1] and (lived[0][0] > 0) == (run is not shares)


def test_what_is_freed_counts_no_longer() -> None:
    layer = nn.Linear(WIDTH, WIDTH, device="meta")
    live = LiveBytes(layer.parameters())
    with live, torch.inference_mode():
        x = torch.zeros(ROWS, WIDTH, device="meta")
        for _ in range(20):
            x = layer(x)
    assert live.peak == 2 * ROWS * WIDTH * 4 and live.now == ROWS * WIDTH * 4
