"""A prompt on its way to another one: embeddings between two texts'."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..presets.text_prompt import PromptBlend

_PARALLEL = 1e-6


def toward(now: Tensor, target: Tensor, share: float, blend: PromptBlend) -> Tensor:
    """`share` (0..1) of the way from embeddings `now` [L, d] to `target` [M, d]; [max(L, M), d].

    Where one text has no token the other's comes out of nothing, which is what a student's padding
    is: rows of zeros. "slerp" turns each token's direction by `share` of the angle between both
    (Shoemake, SIGGRAPH 1985) and takes their lengths linearly; where there is no angle, to nothing
    or to the very opposite, it is linear. Computed in float64, given in the type of `target`. At
    `share` 1 it is `target` itself.
    """
    if share >= 1:
        return target
    length = max(len(now), len(target))
    a, b = (F.pad(each.double(), (0, 0, 0, length - len(each))) for each in (now, target))
    linear = torch.lerp(a, b, share)
    if blend == "linear":
        return linear.to(target.dtype)
    size_a, size_b = (each.norm(dim=-1, keepdim=True) for each in (a, b))
    empty = (size_a == 0) | (size_b == 0)
    tiny = torch.finfo(torch.float64).tiny
    unit_a, unit_b = a / size_a.clamp_min(tiny), b / size_b.clamp_min(tiny)
    angle = (unit_a * unit_b).sum(dim=-1, keepdim=True).clamp(-1, 1).acos()
    sine = angle.sin()
    turned = (((1 - share) * angle).sin() * unit_a + (share * angle).sin() * unit_b) / sine
    turned = turned * torch.lerp(size_a, size_b, share)
    return torch.where(empty | (sine < _PARALLEL), linear, turned).to(target.dtype)
