"""The definition itself, on cases that can be done by hand."""

from __future__ import annotations

import math

import torch

from rollcast.kernels.dense_attention.reference import attention_ref


def test_weights_by_hand() -> None:
    query = torch.tensor([[[[1.0]]]])
    key = torch.tensor([[[[0.0], [math.log(3.0)]]]])
    value = torch.tensor([[[[1.0], [5.0]]]])
    assert attention_ref(query, key, value).item() == 0.25 * 1.0 + 0.75 * 5.0


def test_masked_keys_have_no_say() -> None:
    query, key = torch.randn(1, 1, 2, 4), torch.randn(1, 1, 3, 4)
    value = torch.tensor([[[[1.0], [2.0], [900.0]]]])
    mask = torch.tensor([0.0, 0.0, -torch.inf])
    shorter = attention_ref(query, key[:, :, :2], value[:, :, :2])
    assert torch.equal(attention_ref(query, key, value, mask=mask), shorter)
