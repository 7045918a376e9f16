"""Low-rank adapters folded into a student's weights, as Live Avatar and LongLive ship them."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

_PREFIX = "base_model.model."


def merge_lora(
    weights: Mapping[str, Tensor], adapter: Mapping[str, Tensor], *, alpha: float
) -> dict[str, Tensor]:
    """`weights` with every layer's `up @ down * alpha / rank` of `adapter` added.

    Both have plain names (`weights.read_weights`) but for PEFT's own: `base_model.model.` in front,
    `lora_A` (down) and `lora_B` (up) behind, with or without an adapter's name. Live Avatar's alpha
    is 64 at rank 128, LongLive's 256 at 256. Raises ValueError for a layer that is not there, a
    half adapter, or shapes that do not fit.
    """
    halves: dict[str, dict[str, Tensor]] = {}
    for name, tensor in adapter.items():
        layer, half = _parsed(name)
        halves.setdefault(layer, {})[half] = tensor
    merged = dict(weights)
    for layer, pair in halves.items():
        target = merged.get(f"{layer}.weight")
        down, up = pair.get("lora_A"), pair.get("lora_B")
        if target is None or down is None or up is None:
            raise ValueError(f"the adapter's {layer} is half there, or not in the weights")
        if target.shape != (up.shape[0], down.shape[1]) or up.shape[1] != down.shape[0]:
            raise ValueError(
                f"the adapter's {layer} is {tuple(up.shape)} x {tuple(down.shape)}; the weight is "
                f"{tuple(target.shape)}"
            )
        change = up.float() @ down.float() * (alpha / down.shape[0])
        merged[f"{layer}.weight"] = (target.float() + change).to(target.dtype)
    return merged


def _parsed(name: str) -> tuple[str, str]:
    """Layer and half of an adapter's tensor. Raises ValueError for any other."""
    for half in ("lora_A", "lora_B"):
        layer, found, _ = name.removeprefix(_PREFIX).partition(f".{half}.")
        if found:
            return layer, half
    raise ValueError(f"{name} is no low-rank adapter")
