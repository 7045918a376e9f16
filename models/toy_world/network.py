"""The toy world's network: a causal student, and the words of its prompts."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..student.causal_student import CausalStudent
from ..student.conditioning import TextContext
from .config import LAYERS, MOODS, PALETTES, WIDTH, WORD, toy_config


class PromptedStudent(nn.Module):
    """A `CausalStudent` and the words of its prompts."""

    def __init__(self, width: int = WIDTH, layers: int = LAYERS) -> None:
        super().__init__()
        self.student = CausalStudent(toy_config(width, layers))
        self.mood = nn.Embedding(len(MOODS) + 1, WORD)
        self.palette = nn.Embedding(len(PALETTES) + 1, WORD)

    def told(self, mood: Tensor, palette: Tensor) -> TextContext:
        """What attention reads of prompts, indices [n] of `MOODS` and `PALETTES`."""
        return self.student.encode_text(torch.stack([self.mood(mood), self.palette(palette)], 1))
