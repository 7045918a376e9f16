"""Prompts of the toy world: the last mood and the last palette that they name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from .config import MOODS, NO_MOOD, NO_PALETTE, PALETTES


@dataclass(slots=True)
class ToyPrompt:
    """The words in force; `ignored` are those of a new prompt that mean nothing here."""

    mood: int = NO_MOOD
    palette: int = NO_PALETTE
    ignored: tuple[str, ...] = field(default=())

    @classmethod
    def of(cls, text: str) -> ToyPrompt:
        """What a prompt says; of two moods or palettes the last one counts."""
        prompt, ignored = cls(), []
        for word in text.lower().replace(",", " ").split():
            if word in MOODS:
                prompt.mood = MOODS.index(word)
            elif word in PALETTES:
                prompt.palette = PALETTES.index(word)
            else:
                ignored.append(word)
        prompt.ignored = tuple(ignored)
        return prompt

    def tensors(self) -> Mapping[str, Tensor]:
        """None."""
        return {}

    def metadata(self) -> dict[str, Any]:
        """All of it."""
        return {"mood": self.mood, "palette": self.palette, "ignored": list(self.ignored)}
