"""Adapters change the layers they name, by exactly their product."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from rollcast.models.student.causal_student import CausalStudent
from rollcast.models.wan.lora import merge_lora
from rollcast.models.wan.weights import load_weights

StudentMaker = Callable[..., CausalStudent]
LAYER = "blocks.1.self_attn.q"


@pytest.mark.parametrize("adapter_name", ["", "default."])
def test_a_layer_gets_its_product(make_student: StudentMaker, adapter_name: str) -> None:
    student = make_student()
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    down, up = torch.randn(4, 48), torch.randn(48, 4)
    name = f"base_model.model.{LAYER}"
    adapter = {f"{name}.lora_A.{adapter_name}weight": down}
    adapter[f"{name}.lora_B.{adapter_name}weight"] = up
    load_weights(student, merge_lora(before, adapter, alpha=2.0))
    for key, tensor in student.state_dict().items():
        wanted = before[key] + (up @ down / 2 if key == f"{LAYER}.weight" else 0)
        torch.testing.assert_close(tensor, wanted)


def test_what_does_not_fit_is_named(make_student: StudentMaker) -> None:
    weights = make_student().state_dict()
    down, up = torch.zeros(4, 48), torch.zeros(48, 4)
    for adapter, message in (
        ({f"{LAYER}.lora_A.weight": down}, f"{LAYER} is half there"),
        ({"gone.lora_A.weight": down, "gone.lora_B.weight": up}, "gone is half there, or not"),
        ({f"{LAYER}.lora_A.weight": down, f"{LAYER}.lora_B.weight": up[:5]}, "the weight is"),
        ({f"{LAYER}.weight": up}, "no low-rank adapter"),
    ):
        with pytest.raises(ValueError, match=message):
            merge_lora(weights, adapter, alpha=1.0)
