"""Sizes of frames as people type them."""

from __future__ import annotations

import re


def parse_size(text: str) -> tuple[int, int]:
    """Width and height of a text like 832x480. Raises ValueError for another."""
    found = re.fullmatch(r"(\d+)[x×](\d+)", text.strip())
    if found is None:
        raise ValueError(f"size {text!r}; expected width and height like 832x480")
    return int(found[1]), int(found[2])
