"""The inverse of the normal distribution as a table of integers, the same on any machine.

`quantiles` [256, 4] int32: row 8 e + j has the cubic for two-sided probabilities
p = 2^(e - 32) (1 + (j + r) / 8), r from 0 to 1: the x that a normal number exceeds in size with
probability p is c0 + r (c1 + r (c2 + r c3)), in units of 2^-28. Made in decimal arithmetic, which
has no platform, and rounded once.
"""

from __future__ import annotations

import functools
from decimal import Decimal, localcontext
from statistics import NormalDist

import numpy as np

OCTAVES = 32
PARTS = 8
FRACTION_BITS = 28
_HALF = Decimal("0.5")
_NODES = tuple(Decimal(k) / 3 for k in range(4))
_PI = Decimal("3.14159265358979323846264338327950288419716939937510")


@functools.cache
def quantiles() -> np.ndarray:
    """The table; nobody writes to it."""
    with localcontext() as context:
        context.prec = 50
        rows = [_cubic(octave, part) for octave in range(OCTAVES) for part in range(PARTS)]
    table = np.array(rows, np.int32)
    table.setflags(write=False)
    return table


def _cubic(octave: int, part: int) -> list[int]:
    scale = Decimal(2) ** (octave - 32)
    q0, q1, q2, q3 = (_quantile(scale * (1 + (part + node) / PARTS)) for node in _NODES)
    first, second, third = q1 - q0, q2 - 2 * q1 + q0, q3 - 3 * q2 + 3 * q1 - q0
    # Newton's form in t = 3 r, multiplied out
    linear = 3 * (first - second / 2 + third / 3)
    square = 9 * (second / 2 - third / 2)
    cube = 27 * third / 6
    return [
        int((each * 2**FRACTION_BITS).to_integral_value()) for each in (q0, linear, square, cube)
    ]


def _quantile(p: Decimal) -> Decimal:
    """What a normal number exceeds in size with probability `p`: one step of Newton."""
    if p >= 1:
        return Decimal(0)
    # right to fifteen digits, whoever's logarithm it uses; the step doubles them
    x = Decimal(-NormalDist().inv_cdf(float(p / 2)))
    density = (-x * x / 2).exp() / (2 * _PI).sqrt()
    term = total = x
    n = 1
    while abs(term) > Decimal("1e-45"):
        n += 2
        term = term * x * x / n
        total += term
    above = _HALF - density * total
    return x + (above - p / 2) / density
