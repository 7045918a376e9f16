"""Small tensors on their way to where a model computes."""

from __future__ import annotations

import pytest
import torch

from rollcast.models.upload import uploaded


def test_on_the_cpu_nothing_is_copied() -> None:
    x = torch.arange(4.0)
    assert uploaded(x, torch.device("cpu")) is x
    half = uploaded(x, torch.device("cpu"), torch.bfloat16)
    torch.testing.assert_close(half, x.bfloat16(), atol=0.0, rtol=0.0)


def test_on_meta_there_is_its_shape() -> None:
    made = uploaded(torch.zeros(2, 3), torch.device("meta"), torch.float16)
    assert made.is_meta and made.shape == (2, 3) and made.dtype == torch.float16


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is here")
def test_on_a_gpu_nobody_waits() -> None:
    there = torch.device("cuda")
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        made = uploaded(torch.arange(8.0), there, torch.float16)
    finally:
        torch.cuda.set_sync_debug_mode(before)
    assert made.cpu().tolist() == list(range(8))
