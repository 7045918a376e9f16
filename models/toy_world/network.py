"""The toy world's network: a causal student, and the words of its prompts."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..student.causal_student import CausalStudent
from ..student.conditioning import TextContext
from ..student.config import StudentConfig
from .config import MOODS, PALETTES, WORD, toy_config


class PromptedStudent(nn.Module):
    """A `CausalStudent` and the words of its prompts; without a `config` the one that ships."""

    def __init__(self, config: StudentConfig | None = None) -> None:
        super().__init__()
        self.student = CausalStudent(config or toy_config())
        self.mood = nn.Embedding(len(MOODS) + 1, WORD)
        self.palette = nn.Embedding(len(PALETTES) + 1, WORD)

    def told(self, mood: Tensor, palette: Tensor) -> TextContext:
        """What attention reads of prompts, indices [n] of `MOODS` and `PALETTES`."""
        return self.student.encode_text(self.words(mood, palette))

    def words(self, mood: Tensor, palette: Tensor) -> Tensor:
        """The two words [n, 2, 16] of prompts."""
        return torch.stack([self.mood(mood), self.palette(palette)], 1)
