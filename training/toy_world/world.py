"""The ground truth: clips of the toy world, drawn on the fly from its law."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .law import (
    DIRECTIONS,
    MOODS,
    NO_MOOD,
    NO_PALETTE,
    NODES,
    ODDS,
    OUTCOMES,
    PALETTES,
    SHAPES,
    STAY,
    TURNS,
    bounced,
    draw_hue,
    place_of,
)
from .picture import corner_of, draw, pack, path

CHUNKS = 6
"""Chunks of a clip that is trained on; drift is measured at ten times that."""
ARC = 0.8
"""Most pixels that a move is bent to the side."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a clip is told [n]; `NO_MOOD` and `NO_PALETTE` stand for nothing.

    `steps` [n] is how many a student is asked for, which is nothing of the world's.
    """

    mood: Tensor
    palette: Tensor
    steps: Tensor | None = None

    def __len__(self) -> int:
        return len(self.mood)

    def emptied(self) -> Prompt:
        """As many prompts that say nothing."""
        return Prompt(
            torch.full_like(self.mood, NO_MOOD),
            torch.full_like(self.palette, NO_PALETTE),
            self.steps,
        )

    def asked(self, steps: int) -> Prompt:
        """The same for a student that is asked for so many steps."""
        return Prompt(self.mood, self.palette, torch.full_like(self.mood, steps))

    def of(self, rows: Tensor | slice) -> Prompt:
        """Some of them."""
        steps = None if self.steps is None else self.steps[rows]
        return Prompt(self.mood[rows], self.palette[rows], steps)

    @classmethod
    def each(cls, count: int) -> Prompt:
        """`count` prompts, all kinds equally often."""
        k = torch.arange(count)
        return cls(k % len(MOODS), k // len(MOODS) % len(PALETTES))

    @classmethod
    def drawn(cls, count: int, generator: torch.Generator | None = None) -> Prompt:
        """`count` random prompts."""
        mood = torch.randint(len(MOODS), (count,), generator=generator)
        return cls(mood, torch.randint(len(PALETTES), (count,), generator=generator))


@dataclass(frozen=True, slots=True)
class Clips:
    """Clips with all that is true of them, for tests and metrics; networks see latents alone."""

    latents: Tensor  # [n, chunks, 12, 12, 12]
    prompt: Prompt
    shape: Tensor  # [n]
    hue: Tensor  # [n]
    centre: Tensor  # px [n, 4 chunks, 2]
    outcome: Tensor  # what each chunk does, 0 (stay) or 1 + direction [n, chunks]
    node: Tensor  # where it then is [n, chunks]
    arc: Tensor  # px [n, chunks]


def sample(prompt: Prompt, chunks: int = CHUNKS, generator: torch.Generator | None = None) -> Clips:
    """Draw clips that follow their prompts. Empty prompts are filled at random first."""
    count = len(prompt)
    prompt = _filled(prompt, generator)

    def pick(choices: int) -> Tensor:
        return torch.randint(choices, (count,), generator=generator)

    shape, hue = pick(len(SHAPES)), draw_hue(prompt.palette, generator)
    node, last = pick(NODES), pick(OUTCOMES)
    centres, outcomes, nodes, arcs = [], [], [], []
    for _ in range(chunks):
        choice = torch.multinomial(ODDS[prompt.mood], 1, generator=generator)[:, 0]
        anywhere = pick(4)
        turned = (last - 1 + TURNS[(choice - 1).clamp(min=0)]) % 4
        direction = bounced(node, torch.where(last == STAY, anywhere, turned))
        moves = choice != 0
        vector = DIRECTIONS[direction] * moves[:, None]
        arc = (2 * torch.rand(count, generator=generator) - 1) * ARC
        centres.append(path(corner_of(place_of(node)), vector.float(), arc))
        last = torch.where(moves, direction + 1, STAY)
        node = node + vector[:, 0] * 3 + vector[:, 1]
        outcomes.append(last)
        nodes.append(node)
        arcs.append(arc)
    centre = torch.cat(centres, 1)
    length = centre.shape[1]
    repeated = shape.repeat_interleave(length), hue.repeat_interleave(length)
    pictures = draw(centre.flatten(0, 1), *repeated).unflatten(0, (count, length))
    per_chunk = (torch.stack(each, 1) for each in (outcomes, nodes, arcs))
    return Clips(pack(pictures), prompt, shape, hue, centre, *per_chunk)


def _filled(prompt: Prompt, generator: torch.Generator | None) -> Prompt:
    other = Prompt.drawn(len(prompt), generator)
    return Prompt(
        torch.where(prompt.mood == NO_MOOD, other.mood, prompt.mood),
        torch.where(prompt.palette == NO_PALETTE, other.palette, prompt.palette),
    )
