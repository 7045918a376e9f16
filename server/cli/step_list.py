"""Denoising steps as they are typed."""

from __future__ import annotations

MOST_STEPS = 32


def parse_steps(text: str) -> tuple[float, ...]:
    """`1000,750,500,250` as numbers, or `4` as so many, spread evenly from 1000 down.

    Raises ValueError for anything else.
    """
    if text.isdecimal() and 1 <= int(text) <= MOST_STEPS:
        count = int(text)
        return tuple(float(round(1000 * (count - k) / count)) for k in range(count))
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(
            f"--steps {text!r}; expected how many, or numbers between commas, like 1000,500"
        ) from None
