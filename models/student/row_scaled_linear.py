"""A linear layer whose weights and inputs are in float8, each row with a scale of its own.

Row-wise W8A8: an output is a product of float8 values, times the scale of its token, times that of
its row of weights. Tokens are quantised as they come, so nothing has to be calibrated.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...kernels.dispatch import row_scaled_linear
from ...kernels.row_scale.reference import quantise_rows_ref


class RowScaledLinear(nn.Linear):
    """`weight` [M, K] is float8 e4m3 and `scale` [M] float32; `bias` is as it was."""

    def __init__(self, weight: Tensor, scale: Tensor, bias: Tensor | None) -> None:
        super().__init__(weight.shape[1], weight.shape[0], bias=False, device="meta")
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.scale = nn.Parameter(scale, requires_grad=False)
        if bias is not None:
            self.bias = nn.Parameter(bias, requires_grad=False)

    @classmethod
    def of(cls, linear: nn.Linear) -> RowScaledLinear:
        """A layer that has its weights, in float8."""
        with torch.no_grad():
            weight, scale = quantise_rows_ref(linear.weight)
        bias: Tensor | None = linear.bias
        return cls(weight, scale.flatten(), None if bias is None else bias.detach())

    def forward(self, input: Tensor, *, gelu: bool = False) -> Tensor:
        """[..., M] of `input` [..., K]; with `gelu` of the tanh form of GELU of that."""
        return row_scaled_linear(input, self.weight, self.scale, self.bias, gelu=gelu)


def join(parts: Sequence[RowScaledLinear]) -> tuple[Tensor, Tensor, Tensor]:
    """Weight, scale and bias of all of them, one behind another; theirs become parts of these."""
    weight = torch.cat([part.weight for part in parts])
    scale = torch.cat([part.scale for part in parts])
    bias = torch.cat([part.bias for part in parts])
    count = len(parts)
    pieces = zip(parts, weight.chunk(count), scale.chunk(count), bias.chunk(count), strict=True)
    for part, *own in pieces:
        part.weight, part.scale, part.bias = (nn.Parameter(x, requires_grad=False) for x in own)
    return weight, scale, bias
