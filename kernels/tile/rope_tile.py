"""Rotary positions on a tile in registers, from the tables of `AxisRotations`."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def rotations_at(
    Cos,
    Sin,
    position,
    live,
    FRAME_TOKENS: tl.constexpr,
    COLUMNS: tl.constexpr,
    FRAME_PAIRS: tl.constexpr,
    GRID_PAIRS: tl.constexpr,
    BLOCK_PAIRS: tl.constexpr,
):
    """cos and sin [N, BLOCK_PAIRS] for tokens at `position` [N] = place * FRAME_TOKENS + token.

    Tokens that are not `live` [N] read nothing and become zero; so do pairs past the head's end.
    """
    ROWS: tl.constexpr = FRAME_TOKENS // COLUMNS
    pair = tl.arange(0, BLOCK_PAIRS)[None, :]
    # Divisions by constants: the compiler makes multiplications of them.
    place = (position // FRAME_TOKENS)[:, None]
    token = position % FRAME_TOKENS
    row = (token // COLUMNS)[:, None]
    column = (token % COLUMNS)[:, None]
    of_place = (ROWS + COLUMNS) * GRID_PAIRS + place * FRAME_PAIRS + pair
    of_row = row * GRID_PAIRS + pair - FRAME_PAIRS
    of_column = (ROWS + column) * GRID_PAIRS + pair - (FRAME_PAIRS + GRID_PAIRS)
    of_grid = tl.where(pair < FRAME_PAIRS + GRID_PAIRS, of_row, of_column)
    entry = tl.where(pair < FRAME_PAIRS, of_place, of_grid)
    read = live[:, None] & (pair < FRAME_PAIRS + 2 * GRID_PAIRS)
    return tl.load(Cos + entry, mask=read, other=0.0), tl.load(Sin + entry, mask=read, other=0.0)


@triton.jit
def rotate_pairs(x, cos, sin, N: tl.constexpr, BLOCK_D: tl.constexpr):
    """`x` [N, BLOCK_D] with adjacent pairs rotated by `cos`, `sin` [N, BLOCK_D / 2], float32."""
    even, odd = tl.split(tl.reshape(x.to(tl.float32), [N, BLOCK_D // 2, 2]))
    rotated = tl.join(even * cos - odd * sin, even * sin + odd * cos)
    return tl.reshape(rotated, [N, BLOCK_D])
