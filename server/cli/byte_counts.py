"""Amounts of memory as people type and read them."""

from __future__ import annotations

import re

_UNITS = {"MB": 10**6, "GB": 10**9, "MIB": 2**20, "GIB": 2**30}


def parse_bytes(text: str) -> int:
    """Bytes of a text like 24GB or 80GiB. Raises ValueError for another."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]+)", text.strip(), re.IGNORECASE)
    if found is None or found[2].upper() not in _UNITS:
        raise ValueError(f"memory {text!r}; expected an amount like 24GB or 80GiB")
    return int(float(found[1]) * _UNITS[found[2].upper()])


def gigabytes(count: int) -> str:
    """Like 14.4 GB; small amounts in MB."""
    return f"{count / 1e9:.1f} GB" if count >= 10**8 else f"{count / 1e6:.1f} MB"
