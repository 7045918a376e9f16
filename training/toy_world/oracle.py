"""The exact denoiser of the toy world: the mean of the clips that a noisy clip may be of.

A clip is a hidden Markov chain of (node, move, arc) with a shape and a hue that all chunks share.
The mean sums over all of them by the forward-backward algorithm. Two things are numbers on a grid
where the world has a continuum: arcs (`_ARCS` midpoints), and hues (`_HUES`, over the whole circle
at high noise and closer around the best guess at low noise). All else is exact. It takes about as
long as a network's pass, and gives gradients to the noisy clip.
"""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from .law import (
    DIRECTIONS,
    FIRST,
    MOODS,
    NO_MOOD,
    NODES,
    OUTCOMES,
    PALETTES,
    SHAPES,
    STAY,
    TRANSITIONS,
    hue_density,
    inside,
    place_of,
)
from .picture import (
    BACKGROUND,
    FRAMES,
    SIZE,
    colour,
    corner_of,
    coverage,
    hue_of,
    pack,
    path,
    unpack,
)
from .world import ARC, Prompt

_ARCS = 9
_HUES = 24
_HUE_STEP = 0.02
"""Step of the grid of hues in units of noise over signal."""
_LEAST_NOISE = 0.02
_TINY = 1e-15
_EDGES = NODES * OUTCOMES


class Oracle:
    """A score of the toy world: `oracle(noisy, sigma, prompt)` is the mean of x0."""

    def __init__(self) -> None:
        node, outcome, arc = self._states()
        self._edge = node * OUTCOMES + outcome
        self._log_share = torch.where(outcome == STAY, 0.0, -torch.tensor(float(_ARCS)).log())
        ways = torch.cat([torch.zeros(1, 2), DIRECTIONS.float()])[outcome]
        centres = path(corner_of(place_of(node)), ways, arc).flatten(0, 1)
        kinds = [torch.full((len(centres),), kind) for kind in range(len(SHAPES))]
        masks = torch.stack([coverage(centres, kind) for kind in kinds])
        # [shape, state, 4 * 144]
        self._masks = masks.unflatten(1, (-1, FRAMES)).flatten(2)
        self._energy = self._masks.square().sum(2)
        self._chain = self._transitions()
        self._begin = FIRST.flatten(1) / NODES

    @staticmethod
    def _states() -> tuple[Tensor, Tensor, Tensor]:
        """Node that a chunk begins at, what it does and how it bends: all that can be."""
        arcs = ((torch.arange(_ARCS) + 0.5) / _ARCS * 2 - 1) * ARC
        rows = []
        for node in range(NODES):
            rows.append((node, STAY, 0.0))
            for way in range(4):
                if bool(inside(place_of(torch.tensor(node)) + DIRECTIONS[way])):
                    rows += [(node, way + 1, float(arc)) for arc in arcs]
        node, outcome, arc = zip(*rows, strict=True)
        return torch.tensor(node), torch.tensor(outcome), torch.tensor(arc)

    @staticmethod
    def _transitions() -> Tensor:
        """Probability [mood, (node, outcome), (node, outcome)] from chunk to chunk."""
        chain = torch.zeros(len(MOODS), _EDGES, _EDGES)
        ways = torch.cat([torch.zeros(1, 2, dtype=torch.long), DIRECTIONS])
        for node in range(NODES):
            for outcome in range(OUTCOMES):
                place = place_of(torch.tensor(node)) + ways[outcome]
                if bool(inside(place)):
                    then = int(place[0] * 3 + place[1]) * OUTCOMES
                    row = chain[:, node * OUTCOMES + outcome]
                    row[:, then : then + OUTCOMES] = TRANSITIONS[:, then // OUTCOMES, outcome]
        return chain

    def __call__(self, noisy: Tensor, sigma: Tensor, prompt: Prompt) -> Tensor:
        """The mean of clips [B, chunks, 12, 12, 12] of which `noisy` may be one at `sigma` [B].

        Levels below `_LEAST_NOISE` count as that.
        """
        return _Posterior(self, noisy, sigma.clamp(min=_LEAST_NOISE), prompt).mean()


class _Posterior:
    """What one batch of noisy clips says."""

    def __init__(self, world: Oracle, noisy: Tensor, sigma: Tensor, prompt: Prompt) -> None:
        self._world, self._noisy, self._sigma, self._prompt = world, noisy, sigma, prompt
        # [B, C, rgb, 4 * 144], then how much each sprite is in it [B, C, rgb, shape, state]
        frames = unpack(noisy).unflatten(1, (-1, FRAMES)).permute(0, 1, 3, 2, 4, 5).flatten(3)
        self._onto = torch.einsum("bcrp,skp->bcrsk", frames, world._masks)

    @cached_property
    def _hues(self) -> Tensor:
        """The grid of hues [B, H]."""
        with torch.no_grad():
            energy, signal = self._world._energy, (1 - self._sigma).clamp(min=1e-3)
            gain = self._onto.square().sum(2) / energy
            shape = gain.amax(-1).sum(1).argmax(1)
            rows = torch.arange(len(shape))
            state = gain[rows, :, shape].argmax(-1)
            own = self._onto[rows[:, None], torch.arange(state.shape[1]), :, shape[:, None], state]
            total = energy[shape[:, None], state].sum(1, keepdim=True)
            guess, _ = hue_of(own.sum(1) / total / signal[:, None] + BACKGROUND)
            step = (_HUE_STEP * self._sigma / signal).clamp(max=1 / _HUES)
            line = torch.arange(_HUES) - _HUES / 2
            return (guess[:, None] + line * step[:, None]) % 1

    def _hue_prior(self) -> Tensor:
        """Density [B, H] of the hues under each prompt's palette."""
        each = torch.stack([hue_density(self._hues, k) for k in range(len(PALETTES))], 1)
        each = torch.cat([each, each.mean(1, keepdim=True)], 1)
        palette = self._prompt.palette
        return each[torch.arange(len(palette)), palette]

    def _moods(self) -> list[tuple[Tensor, Tensor]]:
        """Moods [B] to sum over and the log of their odds [B]."""
        mood = self._prompt.mood
        unknown = mood == NO_MOOD
        if not bool(unknown.any()):
            return [(mood, torch.zeros(len(mood)))]
        return [
            (
                torch.full_like(mood, k),
                torch.where(unknown, 1 / len(MOODS), (mood == k).float()).clamp(min=_TINY).log(),
            )
            for k in range(len(MOODS))
        ]

    def mean(self) -> Tensor:
        world, sigma = self._world, self._sigma
        paint = colour(self._hues) - BACKGROUND
        first, second = (1 - sigma) / sigma**2, (1 - sigma) ** 2 / (2 * sigma**2)
        told = torch.einsum("bcrsk,bhr->bcshk", self._onto, paint * first[:, None, None])
        power = paint.square().sum(2) * second[:, None]
        cost = power[:, None, :, None] * world._energy[None, :, None, :]
        likely = told - cost[:, None] + world._log_share
        top = likely.amax(-1, keepdim=True)
        state = (likely - top).exp()
        edge = state.new_zeros(*state.shape[:-1], _EDGES).index_add(-1, world._edge, state)
        evidence, inner = [], []
        for mood, odds in self._moods():
            seen, log_total = _forward_backward(world._begin[mood], world._chain[mood], edge)
            evidence.append(log_total + odds[:, None, None])
            inner.append(seen)
        common = top[..., 0].sum(1) + self._hue_prior().clamp(min=_TINY).log()[:, None]
        mixed = torch.stack(evidence) + common
        total = mixed.permute(1, 0, 2, 3).flatten(1).logsumexp(1)
        share = (mixed - total[:, None, None]).exp()
        seen = sum(share[k][:, None, :, :, None] * each for k, each in enumerate(inner))
        assert isinstance(seen, Tensor)
        weight = state * _ratio(seen, edge)[..., world._edge]
        coloured = torch.einsum("bcshk,bhr->bcrsk", weight, paint)
        frames = torch.einsum("bcrsk,skp->bcrp", coloured, world._masks)
        pictures = frames.unflatten(3, (FRAMES, SIZE, SIZE)).permute(0, 1, 3, 2, 4, 5)
        return pack(pictures.flatten(1, 2))


def _forward_backward(begin: Tensor, chain: Tensor, edge: Tensor) -> tuple[Tensor, Tensor]:
    """Probability of each (node, outcome) [B, C, shape, hue, E], and log evidence [B, shape, hue].

    `begin` [B, E], `chain` [B, E, E]; `edge` [B, C, shape, hue, E] says how likely a chunk is.
    """
    chunks, ahead = edge.shape[1], []
    total = edge.new_zeros(edge.shape[0], *edge.shape[2:4])
    now = begin[:, None, None] * edge[:, 0]
    for k in range(chunks):
        if k:
            now = torch.einsum("bshj,bjk->bshk", ahead[-1], chain) * edge[:, k]
        amount = now.sum(-1, keepdim=True).clamp(min=_TINY)
        ahead.append(now / amount)
        total = total + amount[..., 0].log()
    behind = [torch.ones_like(ahead[-1])]
    for k in range(chunks - 1, 0, -1):
        back = torch.einsum("bshk,bjk->bshj", behind[-1] * edge[:, k], chain)
        behind.append(back / back.amax(-1, keepdim=True).clamp(min=_TINY))
    joint = torch.stack([a * b for a, b in zip(ahead, reversed(behind), strict=True)], 1)
    return _ratio(joint, joint.sum(-1, keepdim=True)), total


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    """part / whole, 0 where there is nothing; its gradient stays finite."""
    some = whole > _TINY
    return torch.where(some, part / torch.where(some, whole, 1.0), 0.0)
