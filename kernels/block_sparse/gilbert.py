"""Order of a token grid along a space-filling curve, so that a run of tokens is a compact box.

A Hilbert curve for boxes of any size (Cerveny's "Gilbert" rule): a box is cut in half along its
longest side, or into a U of parts when its sides are alike, with the cuts at even places so that
the parts' ends meet. Consecutive tokens are neighbours, but for a diagonal step where a size is
odd. Blocks of such a run are what block-sparse attention chooses: with raster order a block of 64
tokens is a line across the picture, here it is about 8 x 8.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

Vector = tuple[int, int, int]


@lru_cache(maxsize=32)
def gilbert_order(frames: int, rows: int, columns: int) -> Tensor:
    """Raster indices [frames * rows * columns] (int64, CPU) in the order of the curve.

    Token `order[i]` of the raster (frame, row, column) is the curve's i-th. Made once per grid and
    kept: do not write to it. Raises ValueError for an empty grid.
    """
    if min(frames, rows, columns) < 1:
        raise ValueError(f"a grid of {frames} x {rows} x {columns} tokens is empty")
    # The longest side leads, so that the curve ends beside where it can go on.
    sides = sorted(((columns, 2), (rows, 1), (frames, 0)), reverse=True)
    axes = []
    for size, axis in sides:
        vector = [0, 0, 0]
        vector[axis] = size
        axes.append((vector[0], vector[1], vector[2]))
    places: list[Vector] = []
    _walk((0, 0, 0), axes[0], axes[1], axes[2], places)
    grid = torch.tensor(places)
    return (grid[:, 0] * rows + grid[:, 1]) * columns + grid[:, 2]


def inverse_order(order: Tensor) -> Tensor:
    """Where each raster token lies on the curve: `order[inverse_order(order)]` counts up."""
    inverse = torch.empty_like(order)
    inverse[order] = torch.arange(len(order), device=order.device)
    return inverse


def _walk(at: Vector, a: Vector, b: Vector, c: Vector, places: list[Vector]) -> None:
    """Append the box spanned by `a`, `b` and `c` from corner `at`, entering there, leaving at `a`.

    Spans are signed lengths along one axis each.
    """
    long, high, deep = (abs(sum(span)) for span in (a, b, c))
    if high == deep == 1:
        step = _unit(a)
        places.extend(_add(at, _times(step, index)) for index in range(long))
    elif long == deep == 1:
        step = _unit(b)
        places.extend(_add(at, _times(step, index)) for index in range(high))
    elif long == high == 1:
        step = _unit(c)
        places.extend(_add(at, _times(step, index)) for index in range(deep))
    elif 2 * long > 3 * high and 2 * long > 3 * deep:
        first = _half(a)
        _walk(at, first, b, c, places)
        _walk(_add(at, first), _minus(a, first), b, c, places)
    elif deep == 1 or 3 * high > 4 * deep:
        _around(at, a, b, c, places)
    elif high == 1 or 3 * deep > 4 * high:
        _around(at, a, c, b, places)
    else:
        _through(at, a, b, c, places)


def _around(at: Vector, a: Vector, b: Vector, c: Vector, places: list[Vector]) -> None:
    """A U in the plane of `a` and `b`: up along half of `b`, across, down again."""
    near_a, near_b = _half(a), _half(b)
    rest_a, rest_b = _minus(a, near_a), _minus(b, near_b)
    _walk(at, near_b, c, near_a, places)
    _walk(_add(at, near_b), a, rest_b, c, places)
    corner = _add(at, _minus(a, _unit(a)))
    last = _add(corner, _minus(near_b, _unit(near_b)))
    _walk(last, _times(near_b, -1), c, _times(rest_a, -1), places)


def _through(at: Vector, a: Vector, b: Vector, c: Vector, places: list[Vector]) -> None:
    """Five parts of a box whose sides are alike, each entered where the one before was left."""
    near_a, near_b, near_c = _half(a), _half(b), _half(c)
    rest_a, rest_b, rest_c = _minus(a, near_a), _minus(b, near_b), _minus(c, near_c)
    last_a, last_b = _minus(a, _unit(a)), _minus(near_b, _unit(b))
    last_c = _minus(c, _unit(c))
    _walk(at, near_b, near_c, near_a, places)
    _walk(_add(at, near_b), c, near_a, rest_b, places)
    middle = _add(_add(at, last_b), last_c)
    _walk(middle, a, _times(near_b, -1), _times(rest_c, -1), places)
    top = _add(_add(_add(at, last_a), near_b), last_c)
    _walk(top, _times(c, -1), _times(rest_a, -1), rest_b, places)
    end = _add(_add(at, last_a), last_b)
    _walk(end, _times(near_b, -1), near_c, _times(rest_a, -1), places)


def _half(span: Vector) -> Vector:
    """About half of `span`, of even length where the whole is longer than two."""
    length = abs(sum(span))
    half = length // 2
    if half % 2 and length > 2:
        half += 1
    return _times(_unit(span), half)


def _unit(span: Vector) -> Vector:
    length = abs(sum(span))
    return _vector(*(part // length if part >= 0 else -(-part // length) for part in span))


def _add(x: Vector, y: Vector) -> Vector:
    return x[0] + y[0], x[1] + y[1], x[2] + y[2]


def _minus(x: Vector, y: Vector) -> Vector:
    return x[0] - y[0], x[1] - y[1], x[2] - y[2]


def _times(x: Vector, factor: int) -> Vector:
    return x[0] * factor, x[1] * factor, x[2] * factor


def _vector(*parts: int) -> Vector:
    return parts[0], parts[1], parts[2]
