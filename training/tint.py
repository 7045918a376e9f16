"""Other light and another camera for pictures, so that networks do not learn colours by heart."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_GAIN, _SHIFT, _GAMMA = 0.12, 0.08, 0.25


class Tint(NamedTuple):
    """For each of B pictures: gain and shift of the colours [B, 3, 1, 1], gamma [B, 1, 1, 1]."""

    gain: Tensor
    shift: Tensor
    gamma: Tensor

    @classmethod
    def random(cls, which: Tensor) -> Tint:
        """Random tints where `which` [B] is true; the others change nothing."""
        on = which[:, None, None, None].float()
        count = len(which)
        common = torch.randn(count, 1, 1, 1)
        gain = 1 + on * _GAIN * (common + 0.4 * torch.randn(count, 3, 1, 1))
        shift = on * _SHIFT * (torch.randn(count, 1, 1, 1) + 0.4 * torch.randn(count, 3, 1, 1))
        gamma = (on * _GAMMA * torch.randn(count, 1, 1, 1)).exp()
        return cls(gain, shift, gamma)

    def select(self, index: Tensor) -> Tint:
        """The tints of some rows."""
        return Tint(*(t[index] for t in self))

    def __call__(self, pictures: Tensor) -> Tensor:
        """Tint pictures -1..1 [B, 3, H, W]."""
        curved = pictures.add(1).div(2).clamp(0, 1) ** self.gamma
        return (self.gain * (2 * curved - 1) + self.shift).clamp(-1, 1)
