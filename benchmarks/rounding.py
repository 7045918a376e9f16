"""Figures with as many digits as they deserve."""

from __future__ import annotations

import math


def rounded(value: object, digits: int = 5) -> object:
    """Plain values with floats to so many digits; what was not measured (NaN) is None."""
    if isinstance(value, dict):
        return {key: rounded(each, digits) for key, each in value.items()}
    if isinstance(value, list):
        return [rounded(each, digits) for each in value]
    if not isinstance(value, float):
        return value
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None
