"""Training of the network that reads expressions, on stills and clips that are varied."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from rollcast.models.pocket.evaluation.readers import ExpressionReader
from rollcast.models.pocket.evaluation.signals import to_signed

_BATCH = 48
_RATE = 2e-3
_SCALE, _TURN, _SHIFT = 0.06, 0.05, 0.08  # share, radians, share of half the width


def vary(faces: Tensor) -> Tensor:
    """Faces -1..1 [B, 3, S, S] moved, mirrored, softened as generated ones are, relit, noisy."""
    count = len(faces)
    scale = 1 + _SCALE * (2 * torch.rand(count) - 1)
    turn = _TURN * torch.randn(count)
    side = torch.where(torch.rand(count) < 0.5, 1.0, -1.0)
    cos, sin = scale * turn.cos(), scale * turn.sin()
    shift = _SHIFT * (2 * torch.rand(2, count) - 1)
    rows = [
        torch.stack([side * cos, -sin, shift[0]], 1),
        torch.stack([side * sin, cos, shift[1]], 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), list(faces.shape), align_corners=False)
    seen = F.grid_sample(faces, grid, padding_mode="border", align_corners=False)
    third = count // 3
    soft = F.avg_pool2d(seen[:third], 3, 1, 1, count_include_pad=False)
    small = F.interpolate(
        F.avg_pool2d(seen[third : 2 * third], 2), scale_factor=2.0, mode="bilinear"
    )
    seen = torch.cat([soft, small, seen[2 * third :]])
    light = (1 + 0.15 * torch.randn(count, 1, 1, 1)) * (1 + 0.04 * torch.randn(count, 3, 1, 1))
    noise = 0.04 * torch.rand(count, 1, 1, 1) * torch.randn_like(seen)
    return seen * light + 0.08 * torch.randn(count, 1, 1, 1) + noise


def train_expressions(faces: Tensor, shown: Tensor, classes: int, steps: int) -> ExpressionReader:
    """A reader that learnt faces uint8 [N, S, S, 3] and what they show [N], all equally often.

    Has a seed of its own: what else is trained before it does not change it.
    """
    torch.manual_seed(7)
    net = ExpressionReader(classes)
    chances = (1 / torch.bincount(shown, minlength=classes).clamp(min=1))[shown]
    order = torch.multinomial(chances, steps * _BATCH, replacement=True).view(steps, _BATCH)
    optimizer = torch.optim.AdamW(net.parameters(), _RATE, weight_decay=0.02)
    for step, rows in enumerate(order):
        for group in optimizer.param_groups:
            group["lr"] = _RATE * min(1.0, (step + 1) / 50, 2 * (1 - step / steps))
        with torch.autocast("cpu", torch.bfloat16):
            scores = net.read(vary(to_signed(faces[rows]))).float()
        loss = F.cross_entropy(scores, shown[rows], label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval().requires_grad_(False)
