"""Modules are made for the weights that they are given, and have no others."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rollcast.models.pocket.weights import filled

WEIGHTS = {"head.weight": torch.full((2, 3), 7.0), "head.bias": torch.zeros(2)}


def test_a_module_has_its_weights_and_no_number_was_drawn_for_it() -> None:
    before = torch.get_rng_state()
    made = filled(lambda: nn.Linear(3, 2), WEIGHTS, "head")
    assert torch.equal(torch.get_rng_state(), before)
    assert made.weight is not WEIGHTS["head.weight"] and not made.weight.requires_grad
    assert made.weight.data_ptr() == WEIGHTS["head.weight"].data_ptr()
    assert not made.training
    # what is made elsewhere is drawn as ever
    nn.Linear(3, 2)
    assert not torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("missing", ["head.weight", "head.bias"])
def test_weights_that_are_missing_are_named(missing: str) -> None:
    given = {name: tensor for name, tensor in WEIGHTS.items() if name != missing}
    with pytest.raises(RuntimeError, match=missing.removeprefix("head.")):
        filled(lambda: nn.Linear(3, 2), given, "head")
