"""The definition of rows in float8 with a scale each, and of a linear layer of them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

E4M3 = torch.float8_e4m3fn
E4M3_MOST = 448.0
"""The greatest value of float8 e4m3."""
SMALLEST = 1e-12
"""What a row's greatest value counts for at least, so that a row of zeros has a scale."""


def quantise_rows_ref(x: Tensor, *, gelu: bool = False) -> tuple[Tensor, Tensor]:
    """`x` [..., K] in float8 e4m3, and what each row is to be multiplied by [..., 1], float32.

    A row's greatest value becomes 448. With `gelu` it is the tanh form of GELU of `x` that is kept.
    In float32, as kernels compute: what a value becomes hangs on the last bit of the quotient.
    """
    wide = x.float()
    if gelu:
        wide = F.gelu(wide, approximate="tanh")
    scale = wide.abs().amax(-1, keepdim=True).clamp_min(SMALLEST) / E4M3_MOST
    return (wide / scale).to(E4M3), scale


def row_scaled_linear_ref(
    x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor | None, *, gelu: bool = False
) -> Tensor:
    """A linear layer of rows in float8: `weight` [M, K] e4m3 with `scale` [M]; in float64.

    The rows of `x` [..., K] are quantised first. What float8 loses is all that it loses: products
    of two such values are exact in float32, and so in float64.
    """
    rows, of_rows = quantise_rows_ref(x, gelu=gelu)
    product = rows.double() @ weight.double().t() * of_rows.double() * scale.double()
    return product if bias is None else product + bias.double()
