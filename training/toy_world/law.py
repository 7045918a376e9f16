"""What may happen in the toy world, and how likely it is.

A sprite goes from node to node of a grid of 3x3 with walls, one move a chunk. A prompt's mood
gives the odds of staying, of going on and of turning, as seen from the last move; behind a stay
any direction is as likely. Where a wall is, the sprite goes back the other way. A prompt's palette
gives the law of the hue, which a clip draws once, as it does the shape; neither is ever told.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rollcast.models.toy_world.config import MOODS as MOODS
from rollcast.models.toy_world.config import NO_MOOD as NO_MOOD
from rollcast.models.toy_world.config import NO_PALETTE as NO_PALETTE
from rollcast.models.toy_world.config import PALETTES as PALETTES

SHAPES = ("disc", "ring", "plus")
GRID = 3
NODES = GRID * GRID
STAY = 0
"""Of the outcomes of a chunk the one without a move; 1..4 are the moves up, right, down, left."""
OUTCOMES = 5
TURNS = torch.tensor([0, -1, 1])
# odds of staying, going on, turning left, turning right, behind a move
ODDS = torch.tensor([[0.55, 0.25, 0.10, 0.10], [0.10, 0.60, 0.15, 0.15], [0.10, 0.10, 0.70, 0.10]])
DIRECTIONS = torch.tensor([[-1, 0], [0, 1], [1, 0], [0, -1]])
"""Rows and columns of the four moves."""

CENTRES = torch.tensor([0.04, 0.60])
"""Mean hue of each palette; a whole turn is 1."""
CONCENTRATION = 2.0
_HUE_CELLS = 4096


def inside(place: Tensor) -> Tensor:
    """Whether grid places [..., 2] are within the walls."""
    return ((place >= 0) & (place < GRID)).all(-1)


def place_of(node: Tensor) -> Tensor:
    """Row and column [..., 2] of nodes 0..8."""
    return torch.stack([node // GRID, node % GRID], -1)


def bounced(node: Tensor, direction: Tensor) -> Tensor:
    """`direction` 0..3, or its opposite where a wall is behind `node`."""
    free = inside(place_of(node) + DIRECTIONS[direction])
    return torch.where(free, direction, (direction + 2) % 4)


def _table() -> Tensor:
    table = torch.zeros(len(MOODS), NODES, OUTCOMES, OUTCOMES)
    for node in range(NODES):
        for last in range(OUTCOMES):
            # behind a stay: any direction, and all that is not the stay is shared out evenly
            turns = torch.arange(4) if last == STAY else (last - 1 + TURNS) % 4
            ways = bounced(torch.full_like(turns, node), turns)
            for mood, odds in enumerate(ODDS):
                shares = odds[1:] if last != STAY else ((1 - odds[0]) / 4).expand(4)
                table[mood, node, last].index_add_(0, ways + 1, shares)
                table[mood, node, last, STAY] += odds[0]
    return table


TRANSITIONS = _table()
"""Probability [mood, node, last outcome, outcome] of what a chunk does."""


def _first() -> Tensor:
    return TRANSITIONS.mean(2)


FIRST = _first()
"""Probability [mood, node, outcome] of what the first chunk does: its last outcome is anyone's."""


def hue_density(hue: Tensor, palette: int) -> Tensor:
    """Density of `hue` (a whole turn is 1) under a palette, von Mises; integrates to 1."""
    angle = 2 * math.pi * (hue - CENTRES[palette])
    return torch.exp(CONCENTRATION * angle.cos()) / torch.special.i0(torch.tensor(CONCENTRATION))


def draw_hue(palette: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """A hue 0..1 for each palette [n]."""
    line = torch.linspace(-0.5, 0.5, _HUE_CELLS + 1)[:-1] + 0.5 / _HUE_CELLS
    chance = torch.exp(CONCENTRATION * (2 * math.pi * line).cos())
    cell = torch.multinomial(chance, len(palette), replacement=True, generator=generator)
    return (CENTRES[palette] + line[cell]) % 1


def hue_gap(one: Tensor, other: Tensor) -> Tensor:
    """Distance of hues on the circle, 0..0.5."""
    return ((one - other + 0.5) % 1 - 0.5).abs()
