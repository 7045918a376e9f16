"""Low-rank adapters folded into a student's weights, as Live Avatar and LongLive ship them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from .names import student_name

_PREFIX = "base_model.model."
_DOWN, _UP = "lora_A", "lora_B"


@dataclass(frozen=True, slots=True)
class _Product:
    """The names of a layer's two halves, and what their product is multiplied with."""

    down: str
    up: str
    scale: float


class LowRank:
    """An adapter: every layer that it names gets `up @ down * alpha / rank` added.

    Its names are PEFT's: `base_model.model.` in front, `lora_A` (down) and `lora_B` (up) behind,
    with or without an adapter's name. Live Avatar's alpha is 64 at rank 128, LongLive's 256 at 256.
    """

    def __init__(self, adapter: Mapping[str, Tensor], *, alpha: float) -> None:
        """Raises ValueError for what is no adapter, or half of one."""
        halves: dict[str, dict[str, str]] = {}
        for name in adapter:
            layer, half = _parsed(name)
            halves.setdefault(layer, {})[half] = name
        self._adapter = adapter
        self._products: dict[str, _Product] = {}
        for layer, pair in halves.items():
            if len(pair) < 2:
                raise ValueError(f"the adapter's {layer} is half there: {', '.join(pair)}")
            rank = adapter[pair[_DOWN]].shape[0]
            self._products[f"{layer}.weight"] = _Product(pair[_DOWN], pair[_UP], alpha / rank)

    def check(self, weights: Mapping[str, Tensor]) -> None:
        """Raise ValueError if `weights`, which have our names, lack a layer or it is of another
        shape."""
        for name, product in self._products.items():
            down, up = self._adapter[product.down], self._adapter[product.up]
            if name not in weights:
                raise ValueError(f"the adapter has {name}, and the weights do not")
            shape = tuple(weights[name].shape)
            if up.shape[1] != down.shape[0] or shape != (up.shape[0], down.shape[1]):
                raise ValueError(
                    f"the adapter's {name} is {tuple(up.shape)} x {tuple(down.shape)}; the weight "
                    f"is {shape}"
                )

    def __call__(self, name: str, weight: Tensor) -> Tensor:
        """A weight with what the adapter adds, float32 where it does; computed on its device."""
        product = self._products.get(name)
        if product is None:
            return weight
        up, down = (self._adapter[half].to(weight.device) for half in (product.up, product.down))
        return (up.float() @ down.float()).mul_(product.scale).add_(weight)


def _parsed(name: str) -> tuple[str, str]:
    """Layer and half of an adapter's tensor. Raises ValueError for any other."""
    for half in (_DOWN, _UP):
        layer, found, _ = name.partition(f".{half}.")
        plain = student_name(f"{layer.removeprefix(_PREFIX)}.weight") if found else None
        if plain is not None:
            return plain.removesuffix(".weight"), half
    raise ValueError(f"{name} is no low-rank adapter")
