"""Rotary positions: the published layout, shift invariance, no last position."""

from __future__ import annotations

import math

import pytest
import torch

from rollcast.models.student.rope import RopeTable, ladder, rotate


def test_layout_by_hand() -> None:
    """Adjacent pairs; 44 of 128 dims for time, 42 for rows, 42 for columns; own ladders."""
    table = RopeTable(128, 2, 3).rotations([5])
    token = table[1 * 3 + 2]
    angles = torch.angle(token.to(torch.complex128))
    for pair, frequency, position in (
        (0, 1.0, 5),
        (3, 10_000 ** (-6 / 44), 5),
        (22, 1.0, 1),
        (22 + 4, 10_000 ** (-8 / 42), 1),
        (43, 1.0, 2),
        (43 + 20, 10_000 ** (-40 / 42), 2),
    ):
        wanted = math.remainder(frequency * position, 2 * math.pi)
        assert angles[pair].item() == pytest.approx(wanted, abs=1e-6)


def test_rotates_adjacent_pairs() -> None:
    quarter = torch.tensor([[1j, 1.0 + 0j]])
    x = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    torch.testing.assert_close(rotate(x, quarter), torch.tensor([[-2.0, 1.0, 3.0, 4.0]]))


@pytest.mark.parametrize("shift", [1, 1024, 10**6, 10**9])
def test_only_distance_counts(shift: int) -> None:
    torch.manual_seed(0)
    rope = RopeTable(32, 2, 2)
    query, key = torch.randn(4, 32), torch.randn(4, 32)

    def scores(at: int) -> torch.Tensor:
        return rotate(query, rope.rotations([at + 7])) @ rotate(key, rope.rotations([at])).T

    # float32 products; the angles of 10**9 frames are still exact to 1e-7 in float64.
    torch.testing.assert_close(scores(shift), scores(0), atol=1e-5, rtol=1e-5)


def test_keeps_dtype_and_length() -> None:
    rope = RopeTable(32, 2, 2)
    x = torch.randn(1, 3, 8, 32)
    rotated = rotate(x, rope.rotations([3, 4]))
    torch.testing.assert_close(rotated.norm(dim=-1), x.norm(dim=-1))
    assert rotate(x.bfloat16(), rope.rotations([3, 4])).dtype == torch.bfloat16
    assert rotate(x.double(), rope.rotations([3, 4])).dtype == torch.float64


def test_ladder_ends() -> None:
    frequencies = ladder(10)
    assert len(frequencies) == 5
    assert frequencies[0].item() == 1.0
    assert frequencies[4].item() == pytest.approx(10_000 ** (-8 / 10))
