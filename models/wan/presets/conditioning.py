"""What a preset says of one kind of conditioning; free of torch.

Each kind is a value like `text_prompt.TextPrompt`, in a file of its own. What it does to a stream
is the class of the same kind in `stream/conditioning`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from .source import Source


@dataclass(frozen=True, slots=True)
class Conditioning:
    """One kind, by its `kind`: the name under which its part of states and plans is kept."""

    kind: ClassVar[str]
    imports: ClassVar[tuple[str, ...]] = ()
    """Modules that take long to import and that only models with this kind need."""

    def inputs(self, size: tuple[int, int], fps: int) -> Mapping[str, Any]:
        """Its fields of `ModelInputs`, for frames of `size` (width, height) at `fps`."""
        del size, fps
        return {}

    def sources(self) -> Mapping[str, Source]:
        """Files it needs beside those of every preset, by the name of their folder in diffusers.

        `locate.ModelFiles.more` has them by the same name.
        """
        return {}
