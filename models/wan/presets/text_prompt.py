"""A prompt that may change while the stream runs, as a preset states it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ...contract import PromptInput
from .conditioning import Conditioning

PromptSwitch = Literal["keep", "recache", "restart"]
"""What a new prompt does to the past."""
PromptBlend = Literal["linear", "slerp"]
"""The way from one prompt's embeddings to another's: straight, or turning."""

EXAMPLES = (
    "A paper boat drifts down a rain-filled street at dusk, neon signs reflected in the water, the "
    "camera gliding low behind it.",
    "A red fox trots through fresh snow in a birch forest, breath steaming in the morning light.",
    "A street musician plays the violin under an old stone bridge while people with umbrellas walk "
    "past.",
)
"""For a model that makes video of text alone."""


@dataclass(frozen=True, slots=True)
class TextPrompt(Conditioning):
    """The text that every chunk attends to.

    A new one acts from the next chunk on, and `switch` says what becomes of the past: it stays, is
    written anew under the new prompt (LongLive 1), or the stream starts anew. One that begins with
    `shot_prefix` opens a new shot, whose RoPE stands `shot_offset` frames further ahead (LongLive
    2); an empty prefix: there are no shots. `examples` are those that the page offers; the first is
    shown where a stream brings none.

    `blend` is the way that a prompt takes which should change over several chunks; each of them
    has a prompt of its own, under which the past is written anew where `switch` wants that. A shot,
    and a prompt with which the stream starts anew, are cuts and take no time.
    """

    kind: ClassVar[str] = "text"
    switch: PromptSwitch = "keep"
    shot_prefix: str = ""
    shot_offset: float = 0.0
    examples: tuple[str, ...] = EXAMPLES
    blend: PromptBlend = "linear"

    def inputs(self, size: tuple[int, int], fps: int) -> Mapping[str, Any]:
        """A prompt."""
        del size, fps
        return {"prompt": PromptInput(self.examples)}
