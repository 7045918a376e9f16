"""The open picture of a face: eyes and lips are found, and what opens follows them."""

import pytest
import torch
from torch import Tensor

from rollcast.models.pocket.opening import MOUTH, Opening, eye_row, lip_row


def _face(eyes: int, lips: int) -> Tensor:
    """A light face with dark eyes, reddish lips and the dark line between them."""
    face = torch.full((1, 3, 384, 384), 0.4)
    for columns in (slice(130, 176), slice(210, 256)):
        face[..., eyes - 4 : eyes + 5, columns] = -0.8
    face[:, 1:, lips - 9 : lips + 10, 160:224] = 0.0
    face[..., lips - 1 : lips + 2, 160:224] = -0.7
    return face


def _opening(inside: float = -0.9) -> Opening:
    mouth = torch.zeros(1, 4, 384, 384)
    mouth[:, :3, 265:285, 170:214], mouth[:, 3:, 265:285, 170:214] = inside, 1.0
    return Opening(torch.zeros(1, 2, 96, 96), mouth, 186, 260)


@pytest.mark.parametrize(("eyes", "lips"), [(186, 260), (178, 272), (199, 248)])
def test_eyes_and_lips_are_found(eyes: int, lips: int) -> None:
    face = _face(eyes, lips)
    assert abs(eye_row(face, around=186) - eyes) <= 1
    assert abs(lip_row(face, around=260) - lips) <= 1


@pytest.mark.parametrize("lips", [252, 260, 271])
def test_the_inside_of_the_mouth_goes_with_the_lips(lips: int) -> None:
    opened = _opening().apply(_face(186, lips))
    dark = (opened[0, :, :, 192] < -0.85).all(0).nonzero()[:, 0]
    assert abs(int(dark[0]) - (265 + lips - 260)) <= 1 and len(dark) == 20


def test_without_any_way_only_the_mouth_changes() -> None:
    face = _face(186, 260)
    opened = _opening().apply(face)
    same = torch.ones(384, 384, dtype=torch.bool)
    same[265:285, 170:214] = False
    torch.testing.assert_close(opened[..., same], face[..., same], atol=1e-4, rtol=0)


def test_what_a_file_keeps_is_all_of_it() -> None:
    opening = _opening()
    kept = {name: tensor.half() for name, tensor in opening.tensors().items()}
    again = Opening.of({name: tensor.float() for name, tensor in kept.items()})
    assert (again.eye_row, again.lip_row) == (186, 260)
    assert torch.equal(again.inside, opening.inside.half().float())
    assert kept["inside"].shape[-2:] == tuple(part.stop - part.start for part in MOUTH)


def test_a_row_that_is_known_is_not_looked_for() -> None:
    face = _face(186, 260)
    beard = face.clone()
    beard[..., 246:249, 130:254] = -0.9
    found, told = _opening().apply(beard), _opening().apply(beard, 260)
    rows = [(o[0, :, :, 192] < -0.85).all(0).nonzero()[:, 0] for o in (found, told)]
    assert int(rows[1][-1]) == 284 and int(rows[0][-1]) < 284
