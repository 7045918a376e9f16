"""Denoising steps as they are typed."""

from __future__ import annotations


def parse_steps(text: str) -> tuple[float, ...]:
    """`1000,750,500,250` as numbers. Raises ValueError for anything else."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(
            f"--steps {text!r}; expected numbers between commas, like 1000,500"
        ) from None
