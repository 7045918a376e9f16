"""Moves against the law: are they possible, as frequent as they should be, and what was asked."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..law import MOODS, ODDS, OUTCOMES, STAY, TRANSITIONS
from ..reading import ILLEGAL, Moves
from ..world import ARC

_FEWEST = 8
"""Moves of a kind below which their frequencies say nothing: they then count as all wrong."""
_RAREST_EXPECTED = 15.0
_LEAST_CHANCE = 0.01


def legality(moves: Moves) -> dict[str, float]:
    """Share of chunks whose pictures show one sprite on a path of the world."""
    return {"legal": float((moves.outcome != ILLEGAL).float().mean())}


class _Steps:
    """Moves of which the one before is known as well: what the law speaks of."""

    def __init__(self, moves: Moves, mood: Tensor) -> None:
        last, now = moves.outcome[:, :-1], moves.outcome[:, 1:]
        known = (last != ILLEGAL) & (now != ILLEGAL)
        self.clip = torch.arange(len(now))[:, None].expand_as(now)[known]
        self.mood = mood[self.clip]
        self.last, self.now = last[known], now[known]
        self.node = moves.before[:, 1:][known]

    def chance(self, mood: Tensor) -> Tensor:
        """Probability [k, outcome] of each under a mood [k]."""
        return TRANSITIONS[mood, self.node, self.last]

    def relative(self, by_outcome: Tensor) -> Tensor:
        """`by_outcome` [k, outcome] as stay, on, right, back, left of the last move."""
        ways = (self.last.clamp(min=1)[:, None] - 1 + torch.arange(4)) % 4
        return torch.cat([by_outcome[:, :1], by_outcome[:, 1:].gather(1, ways)], 1)


def dynamics(moves: Moves, mood: Tensor) -> dict[str, float]:
    """How moves are chosen, against the known odds.

    `moves_tv`: total variation of what is done from what the law expects at just these places.
    `entropy`: entropy of what is done over that of what is expected, 1 in truth. `rarest`: the
    frequency of the move that is missing most, over its odds; 1 in truth. `wrong`: share of
    moves that cannot be. `motion`: share of chunks that move, over its truth. `surprise`: mean
    of -log odds of what is done, less its truth, in nats. `arc`: spread of the bend over its truth.
    """
    steps = _Steps(moves, mood)
    if len(steps.now) < _FEWEST:
        nothing = dict.fromkeys(("entropy", "rarest", "motion", "arc"), 0.0)
        return nothing | {
            "moves_tv": 1.0,
            "wrong": 1.0,
            "surprise": -float(torch.tensor(_LEAST_CHANCE).log()),
        }
    chance = steps.chance(steps.mood)
    hit = chance.gather(1, steps.now[:, None])[:, 0]
    expected_surprise = -(chance * chance.clamp(min=1e-9).log()).sum(1).mean()
    return {
        **_histogram(steps, chance),
        "wrong": float((hit == 0).float().mean()),
        "motion": _motion(moves, mood),
        "surprise": float(-hit.clamp(min=_LEAST_CHANCE).log().mean() - expected_surprise),
        "arc": _bend(moves),
    }


def _histogram(steps: _Steps, chance: Tensor) -> dict[str, float]:
    expected = steps.relative(chance)
    done = steps.relative(F.one_hot(steps.now, OUTCOMES).float())
    apart, count, entropies, rarest = 0.0, 0, torch.zeros(2), 1.0
    for mood in range(len(MOODS)):
        for stayed in (False, True):
            rows = (steps.mood == mood) & ((steps.last == STAY) == stayed)
            seen = max(int(rows.sum()), _FEWEST)
            count += seen
            if int(rows.sum()) < _FEWEST:
                apart += seen
                rarest = rarest if stayed else 0.0
                continue
            p, q = expected[rows].mean(0), done[rows].mean(0)
            apart += seen * float((p - q).abs().sum()) / 2
            entropies += seen * torch.stack([_entropy(q), _entropy(p)])
            often = p * seen >= _RAREST_EXPECTED
            if not stayed and bool(often.any()):
                rarest = min(rarest, float((q[often] / p[often]).min()))
    return {
        "moves_tv": apart / count,
        "entropy": float(entropies[0] / entropies[1].clamp(min=1e-9)),
        "rarest": rarest,
    }


def _entropy(p: Tensor) -> Tensor:
    return -(p * p.clamp(min=1e-9).log()).sum()


def _motion(moves: Moves, mood: Tensor) -> float:
    shares = []
    for k in range(len(MOODS)):
        outcome = moves.outcome[mood == k]
        legal = (outcome != ILLEGAL).sum().clamp(min=1)
        shares.append(float((outcome > STAY).sum() / legal / (1 - ODDS[k, 0])))
    return sum(shares) / len(shares)


def _bend(moves: Moves) -> float:
    arcs = moves.arc[moves.outcome > STAY]
    return float(arcs.std() / (ARC / 3**0.5)) if len(arcs) > 1 else 0.0


def mood_accuracy(moves: Moves, mood: Tensor) -> float:
    """Share of clips whose moves are likeliest under the mood that they were told.

    Below 1 in truth: moods overlap, and a clip is short.
    """
    steps = _Steps(moves, mood)
    likelihood = torch.zeros(len(mood), len(MOODS))
    for k in range(len(MOODS)):
        chance = steps.chance(torch.full_like(steps.mood, k))
        hit = chance.gather(1, steps.now[:, None])[:, 0].clamp(min=_LEAST_CHANCE)
        likelihood[:, k].index_add_(0, steps.clip, hit.log())
    # a clip without a known move is no evidence: it counts as a guess
    known = likelihood.abs().sum(1) > 0
    right = torch.where(known, (likelihood.argmax(1) == mood).float(), 1 / len(MOODS))
    return float(right.mean())
