"""Adapters change the layers they name, by exactly their product."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from rollcast.models.student.causal_student import CausalStudent
from rollcast.models.wan.lora import LowRank
from rollcast.models.wan.weights import fill

StudentMaker = Callable[..., CausalStudent]
LAYER = "blocks.1.self_attn.q"


def adapter(
    layer: str = LAYER, name: str = "", shape: tuple[int, int] = (48, 48)
) -> dict[str, Tensor]:
    up, down = torch.randn(shape[0], 4), torch.randn(4, shape[1])
    start = f"base_model.model.{layer}"
    return {f"{start}.lora_A.{name}weight": down, f"{start}.lora_B.{name}weight": up}


@pytest.mark.parametrize("layer", [LAYER, "model.blocks.1.attn1.to_q", f"model.{LAYER}"])
@pytest.mark.parametrize("name", ["", "default."])
def test_a_layer_gets_its_product(make_student: StudentMaker, layer: str, name: str) -> None:
    student = make_student()
    before = student.state_dict()
    halves = adapter(layer, name)
    down, up = halves.values()
    change = LowRank(halves, alpha=2.0)
    change.check(before)
    with torch.device("meta"):
        empty = CausalStudent(student.config)
    for key, tensor in fill(empty, before, change=change).state_dict().items():
        wanted = before[key] + (up @ down / 2 if key == f"{LAYER}.weight" else 0)
        torch.testing.assert_close(tensor, wanted)


def test_it_is_added_before_the_type_is_changed(make_student: StudentMaker) -> None:
    """A change that is too small for bfloat16 beside its weight still counts with others."""
    student = make_student()
    halves = {name: 0.01 * tensor for name, tensor in adapter().items()}
    down, up = halves.values()
    with torch.device("meta"):
        empty = CausalStudent(student.config)
    change = LowRank(halves, alpha=4.0)
    made = fill(empty, student.state_dict(), dtype=torch.bfloat16, change=change)
    exact = student.state_dict()[f"{LAYER}.weight"] + up @ down
    assert torch.equal(made.state_dict()[f"{LAYER}.weight"], exact.bfloat16())


@pytest.mark.parametrize(
    ("halves", "what"),
    [
        (dict(list(adapter().items())[:1]), "half there"),
        ({"blocks.0.ffn.0.weight": torch.zeros(2, 2)}, "no low-rank adapter"),
    ],
)
def test_what_is_no_adapter_is_named(halves: dict[str, Tensor], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        LowRank(halves, alpha=1.0)


@pytest.mark.parametrize(
    ("halves", "what"),
    [
        (adapter("blocks.7.self_attn.q"), "blocks.7.self_attn.q.weight, and the weights do not"),
        (adapter(shape=(48, 40)), r"is \(48, 4\) x \(4, 40\); the weight is \(48, 48\)"),
    ],
)
def test_an_adapter_of_another_model_is_named(
    halves: dict[str, Tensor], what: str, make_student: StudentMaker
) -> None:
    with pytest.raises(ValueError, match=what):
        LowRank(halves, alpha=1.0).check(make_student().state_dict())
