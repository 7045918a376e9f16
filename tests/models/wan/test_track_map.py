"""Track maps cell by cell."""

from __future__ import annotations

import torch

from rollcast.models.student.blocks import sinusoid
from rollcast.models.wan.track_map import identity_track_map

GRID = {"cell": 16, "rows": 2, "columns": 3}


def test_identity_stands_in_the_cell_of_its_point() -> None:
    points = torch.tensor([[[0.0, 0.0], [47.9, 31.9]], [[16.0, 15.9], [15.9, 16.0]]])
    visible = torch.ones(2, 2, dtype=torch.bool)
    ids = torch.tensor([7, 123456])
    made = identity_track_map(points, visible, ids, dim=8, **GRID)
    phi = sinusoid(ids, 8).float()
    wanted = torch.zeros(2, 8, 2, 3)
    wanted[0, :, 0, 0], wanted[0, :, 1, 2] = phi
    wanted[1, :, 0, 1], wanted[1, :, 1, 0] = phi
    assert torch.equal(made, wanted)


def test_hidden_and_outside_points_leave_nothing() -> None:
    points = torch.tensor([[[8.0, 8.0], [-0.1, 8.0], [48.0, 8.0], [8.0, 32.0]]])
    visible = torch.tensor([[False, True, True, True]])
    assert not identity_track_map(points, visible, torch.arange(4), dim=4, **GRID).any()


def test_points_in_one_cell_add_up() -> None:
    points = torch.tensor([[[1.0, 1.0], [2.0, 2.0]]])
    visible = torch.ones(1, 2, dtype=torch.bool)
    made = identity_track_map(points, visible, torch.tensor([3, 9]), dim=4, **GRID)
    torch.testing.assert_close(made[0, :, 0, 0], sinusoid(torch.tensor([3, 9]), 4).sum(0).float())
