"""Rows of keys or values as a bulk copy (TMA) takes them."""

from __future__ import annotations

from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor


def bulk_rows(heads: Tensor, rows: int, columns: int) -> TensorDescriptor:
    """All rows of `heads` [B, Hkv, M, D] for tiles of `rows` x `columns`.

    One descriptor covers the rows of all heads, so they must lie one behind another, from an
    address on that is a multiple of 16 bytes: what does not is copied.
    """
    together = heads.contiguous()
    if together.data_ptr() % 16:
        together = together.clone()
    return TensorDescriptor.from_tensor(together.view(-1, heads.shape[-1]), [rows, columns])
