"""What golden cases of all families have in common: Wan's shape, and how results are compared."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def wan_shape(published: dict[str, Any], *, patch: str) -> dict[str, Any]:
    """The arguments of `StudentConfig` that every published Wan student names alike.

    `patch` is the entry that holds the patch.
    """
    return {
        "dim": published["dim"],
        "ffn_dim": published["ffn_dim"],
        "num_heads": published["num_heads"],
        "num_layers": published["num_layers"],
        "in_channels": published["in_dim"],
        "out_channels": published["out_dim"],
        "text_dim": published["text_dim"],
        "text_len": published["text_len"],
        "freq_dim": published["freq_dim"],
        "patch": tuple(published[patch]),
        "eps": published["eps"],
    }


def check_shape(made: Tensor, expected: Tensor) -> None:
    """Raise ValueError unless both have one shape."""
    if made.shape != expected.shape:
        raise ValueError(f"made {tuple(made.shape)}, the case has {tuple(expected.shape)}")


def difference(made: Tensor, expected: Tensor) -> float:
    """The greatest absolute difference. Raises ValueError on other shapes."""
    check_shape(made, expected)
    return float((made - expected).abs().max())
