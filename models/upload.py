"""Small tensors from the CPU to where a model computes, without waiting for what it computes."""

from __future__ import annotations

import torch
from torch import Tensor


def uploaded(tensor: Tensor, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """`tensor` on `device`, in `dtype` if given.

    A copy from ordinary memory to a GPU makes the host wait until all that was queued there is
    done; one from pinned memory is queued like everything else. On `meta` nothing is copied.
    """
    if tensor.device == device or tensor.device.type != "cpu":
        return tensor.to(device, dtype or tensor.dtype)
    here = tensor if dtype is None else tensor.to(dtype)
    if device.type == "meta":
        return torch.empty_like(here, device=device)
    if device.type == "cuda":
        return here.pin_memory().to(device, non_blocking=True)
    return here.to(device)
