"""The tiny causal model, which cannot be made while a file is there."""

from __future__ import annotations

from pathlib import Path

from tiny_causal import TinyCausal


class BreakableCausal(TinyCausal):
    """`switch` is the file."""

    def __init__(self, switch: str) -> None:
        if Path(switch).exists():
            raise OSError("no weights today")
        super().__init__()
