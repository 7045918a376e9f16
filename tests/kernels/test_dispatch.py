"""The attention in use against its float64 definition."""

from __future__ import annotations

import pytest
import torch

from rollcast.kernels.attention_ref import attention_ref
from rollcast.kernels.dispatch import attention


@pytest.mark.parametrize("grad", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("masked", [False, True], ids=["all", "masked"])
@pytest.mark.parametrize(
    ("queries", "keys", "dim"), [(64, 320, 32), (7, 13, 10), (1, 1, 8), (60, 60, 48)]
)
def test_equals_the_definition(queries: int, keys: int, dim: int, masked: bool, grad: bool) -> None:
    torch.manual_seed(0)
    query = torch.randn(2, 3, queries, dim, requires_grad=grad)
    key, value = torch.randn(2, 3, keys, dim), torch.randn(2, 3, keys, dim)
    mask = None
    if masked:
        mask = torch.zeros(queries, keys).masked_fill(torch.rand(queries, keys) < 0.4, -torch.inf)
        mask[:, 0] = 0.0
    made = attention(query, key, value, mask=mask, scale=0.3)
    # float32 softmax over at most 320 terms of size 1: a few ulp.
    torch.testing.assert_close(
        made, attention_ref(query, key, value, mask=mask, scale=0.3), atol=2e-6, rtol=1e-5
    )


def test_gradients_equal_the_definition() -> None:
    torch.manual_seed(1)
    made, wanted = (
        [torch.randn(1, 2, 9, 16, requires_grad=True) for _ in range(3)] for _ in range(2)
    )
    for tensor, source in zip(wanted, made, strict=True):
        tensor.data.copy_(source.data)
    attention(*made).square().sum().backward()
    attention_ref(*wanted).square().sum().backward()
    for tensor, source in zip(wanted, made, strict=True):
        torch.testing.assert_close(source.grad, tensor.grad, atol=1e-5, rtol=1e-5)


def test_bfloat16_is_close() -> None:
    torch.manual_seed(2)
    query, key, value = (torch.randn(1, 2, 33, 32, dtype=torch.bfloat16) for _ in range(3))
    made = attention(query, key, value).double()
    wanted = attention_ref(query.double(), key.double(), value.double())
    # 8 bits of mantissa.
    assert (made - wanted).norm() / wanted.norm() < 1e-2
