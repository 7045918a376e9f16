"""A critic of noisy clips of the toy world: do they come from the data?"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .law import MOODS, PALETTES
from .picture import unpack
from .world import Prompt

_FIRST, _SECOND, _LAST = 24, 48, 64


class ToyCritic(nn.Module):
    """Sees pictures in space and time: a critic of single ones would reward standing still."""

    def __init__(self) -> None:
        super().__init__()
        self.see = nn.Sequential(
            nn.Conv3d(3, _FIRST, 4, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv3d(_FIRST, _SECOND, 4, stride=2, padding=1),
            nn.SiLU(),
        )
        told = len(MOODS) + len(PALETTES) + 3
        self.judge = nn.Sequential(
            nn.Linear(9 * _SECOND + told, _LAST), nn.SiLU(), nn.Linear(_LAST, 1)
        )

    def forward(self, noisy: Tensor, sigma: Tensor, batch: object) -> Tensor:
        """Logits [B] of clips [B, F, 12, 12, 12] at `sigma` [B] for the prompts of `batch`."""
        prompt = getattr(batch, "prompt", None)
        assert isinstance(prompt, Prompt)
        seen = self.see(unpack(noisy).transpose(1, 2)).mean(2).flatten(1)
        mood = nn.functional.one_hot(prompt.mood, len(MOODS) + 1)
        palette = nn.functional.one_hot(prompt.palette, len(PALETTES) + 1)
        told = torch.cat([seen, mood, palette, sigma[:, None]], 1)
        return self.judge(told)[:, 0]
