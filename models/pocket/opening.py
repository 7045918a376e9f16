"""An open mouth and closed eyes for a face of which there is one picture.

A rendered face's own way from its closed picture to its open one, moved to where the lips of the
given picture are: the skin is that of the picture, teeth and tongue are the rendered face's. It
presumes a face from the front, mouth closed, its eyes where those of the rendered face are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .autoencoder import FRAME_SIZE, PICTURE_SIZE, warp

# rows and columns of a picture that hold the inside of the rendered face's mouth
MOUTH = slice(230, 330), slice(140, 240)
# where eyes and lips are looked for: rows around the rendered face's, and columns
_SEARCH = 20
# where a face was seen: Face Mesh has the lips so many rows lower than they look darkest, and their
# line so near to that
_BELOW, _BESIDE = 2, 5
_EYES = (slice(128, 178), slice(208, 258))
_LIPS = (slice(168, 216),)
_THICK = 17
# rows of a picture between which what moves the eyes fades into what moves the lips
_FADE = (208, 244)


@dataclass(frozen=True, slots=True)
class Opening:
    """`flow` [1, 2, 96, 96] px of a frame: from the open picture back to the closed one.

    `inside` [1, 4, 384, 384] is the inside of the mouth, premultiplied, and its matte; `eye_row`
    and `lip_row` the rows of a picture at which the eyes are and the lips of the closed one meet.
    """

    flow: Tensor
    inside: Tensor
    eye_row: int
    lip_row: int

    def tensors(self) -> dict[str, Tensor]:
        """What a file keeps of it."""
        rows = torch.tensor([self.eye_row, self.lip_row])
        return {"flow": self.flow, "inside": self.inside[(..., *MOUTH)], "rows": rows}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Opening:
        """The inverse of `tensors`."""
        inside = torch.zeros(1, 4, PICTURE_SIZE, PICTURE_SIZE)
        inside[(..., *MOUTH)] = tensors["inside"]
        eyes, lips = (int(row) for row in tensors["rows"])
        return cls(tensors["flow"], inside, eyes, lips)

    def apply(self, reference: Tensor, lip: int | None = None) -> Tensor:
        """The open picture of `reference` -1..1 [1, 3, 384, 384].

        `lip` is about the row in which its lips meet: they are looked for beside it alone, and not
        among the edges of a beard.
        """
        eyes = eye_row(reference, around=self.eye_row) - self.eye_row
        if lip is None:
            row = lip_row(reference, around=self.lip_row)
        else:
            row = lip_row(reference, around=lip - _BELOW, within=_BESIDE)
        lips = min(max(row - self.lip_row, -_SEARCH), _SEARCH)
        flow = F.interpolate(self.flow, (PICTURE_SIZE, PICTURE_SIZE), mode="bilinear")
        moved = warp(reference, _shifted(flow, eyes, lips))
        inside = torch.roll(self.inside, lips, 2)
        return inside[:, :3] + (1 - inside[:, 3:]) * moved


def lip_row(picture: Tensor, *, around: int, within: int = _SEARCH) -> int:
    """The row in which closed lips meet: the darkest thin line near row `around`."""
    first, dark = _darkness(picture, _LIPS, around, within)
    return first + int(dark.argmax())


def eye_row(picture: Tensor, *, around: int) -> int:
    """The row of the eyes: the middle of what is dark near row `around`; glasses are even to it."""
    first, dark = _darkness(picture, _EYES, around, _SEARCH)
    weight = dark.clamp(min=0) + 1e-6
    return first + round(float((weight * torch.arange(len(weight))).sum() / weight.sum()))


def _darkness(
    picture: Tensor, columns: tuple[slice, ...], around: int, within: int
) -> tuple[int, Tensor]:
    """The first of the rows around `around`, and how much darker each is than those near it.

    Not how dark: lips are, and so are shadows.
    """
    grey = torch.cat([picture.mean((0, 1))[:, part] for part in columns], 1).mean(1)[None, None]
    near = F.avg_pool1d(grey, _THICK, 1, _THICK // 2, count_include_pad=False)
    line = F.avg_pool1d(grey, 3, 1, 1, count_include_pad=False)
    first = around - within
    return first, (near - line)[0, 0, first : around + within + 1]


def _shifted(flow: Tensor, eyes: int, lips: int) -> Tensor:
    """`flow` [1, 2, 384, 384] with eyes and lips so many rows further down."""
    rows = torch.arange(PICTURE_SIZE, dtype=torch.float32)
    share = ((rows - _FADE[0]) / (_FADE[1] - _FADE[0])).clamp(0, 1)
    up = -(FRAME_SIZE / PICTURE_SIZE) * (eyes + (lips - eyes) * share)
    up = up[:, None].expand(PICTURE_SIZE, PICTURE_SIZE)
    return warp(flow, torch.stack([torch.zeros_like(up), up])[None])
