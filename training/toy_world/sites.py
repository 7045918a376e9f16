"""FedLGD's idea in the toy world (arXiv 2303.02278): sites that show nobody their clips.

Each of three sites has clips of one mood. A student that knows the world, but not what the words of
moods mean, shall learn all three of them. What sites share is weights, averaged by rounds (FedAvg),
or a few clips each has learnt, whose features in networks of chance have the mean of its own clips'
(distribution matching). Controls: one site alone, and all clips in one place. Two tests say what
leaks: how near what is shared comes to a site's own clips, and whether a student's losses tell own
clips from new ones.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from .critic import ToyCritic
from .law import MOODS, NO_MOOD
from .metrics import measure
from .network import ToyNetwork
from .picture import unpack
from .task import FLOW_SIGMAS, ToyBatch, clips_of
from .teaching import Budget, teach_flow
from .world import CHUNKS, Prompt, sample

Way = Literal["weights", "clips", "one place", "alone"]
WAYS: tuple[Way, ...] = ("weights", "clips", "one place", "alone")
_RATE, _ROWS, _AVERAGE = 1e-3, 32, 0.98
_CLIP_RATE = 0.05
_LEVELS = (0.3, 0.5, 0.7)


@dataclass(frozen=True, slots=True)
class Federation:
    """`private` clips a site, of which `learned` are what it shares; `updates` in all, `rounds`."""

    private: int = 64
    learned: int = 16
    updates: int = 240
    rounds: int = 6
    clip_updates: int = 300


def federated(flow: ToyNetwork, plan: Federation, way: Way, seed: int) -> dict[str, Any]:
    """Teach the moods one `way`, and measure what came of it and what leaks."""
    torch.manual_seed(seed)
    sites = [private_clips(mood, plan.private) for mood in range(len(MOODS))]
    student = without_moods(flow)
    shared: list[ToyBatch] = []
    if way == "weights":
        for _ in range(plan.rounds):
            updates = max(1, plan.updates // plan.rounds // len(sites))
            locals_ = [_taught(student, [site], updates) for site in sites]
            student = averaged(locals_)
    elif way == "clips":
        shared = [learned_clips(site, plan.learned, plan.clip_updates) for site in sites]
        student = _taught(student, shared, plan.updates)
    else:
        student = _taught(student, sites if way == "one place" else sites[:1], plan.updates)
    torch.manual_seed(seed)
    prompt = Prompt.each(96)
    made = clips_of(student, prompt, FLOW_SIGMAS, CHUNKS, deterministic=True)
    fresh = [private_clips(mood, plan.private) for mood in range(len(MOODS))]
    found = measure(made, prompt)
    leak = {"membership": membership(student, joined(sites), joined(fresh))}
    if shared:
        leak["nearness"] = nearness(*(_latents(joined(each)) for each in (shared, sites, fresh)))
    return {"way": way, "seed": seed} | found | leak


def private_clips(mood: int, count: int) -> ToyBatch:
    """Clips of one site."""
    drawn = Prompt.drawn(count)
    prompt = Prompt(torch.full_like(drawn.mood, mood), drawn.palette)
    return ToyBatch(prompt, sample(prompt).latents)


def joined(batches: Sequence[ToyBatch]) -> ToyBatch:
    """All of them in one."""
    prompts = [batch.prompt for batch in batches]
    mood, palette = (torch.cat([getattr(p, name) for p in prompts]) for name in ("mood", "palette"))
    return ToyBatch(Prompt(mood, palette), torch.cat([_latents(batch) for batch in batches]))


def _latents(batch: ToyBatch) -> Tensor:
    assert batch.latents is not None, "a site has clips"
    return batch.latents


def without_moods(flow: ToyNetwork) -> ToyNetwork:
    """A copy to which every word of a mood is the one that says nothing."""
    student = copy.deepcopy(flow).requires_grad_(True)
    with torch.no_grad():
        student.mood.weight[:NO_MOOD] = student.mood.weight[NO_MOOD]
    return student


def averaged(networks: Sequence[ToyNetwork]) -> ToyNetwork:
    """The mean of their weights (FedAvg, arXiv 1602.05629), all sites being of one size."""
    mean = copy.deepcopy(networks[0])
    with torch.no_grad():
        for all_of_one in zip(mean.parameters(), *(n.parameters() for n in networks), strict=True):
            all_of_one[0].copy_(torch.stack(all_of_one[1:]).mean(0))
    return mean


def learned_clips(site: ToyBatch, count: int, updates: int) -> ToyBatch:
    """Clips learnt from nothing that have the mean features of a site's own, palette by palette."""
    latents = _latents(site)
    palette = torch.arange(count) % 2
    prompt = Prompt(site.prompt.mood[:1].expand(count), palette)
    clips = (0.1 * torch.randn(count, *latents.shape[1:])).requires_grad_(True)
    optimizer = torch.optim.Adam([clips], _CLIP_RATE)
    for _ in range(updates):
        see = ToyCritic().see.requires_grad_(False)
        loss = torch.zeros(())
        for kind in range(2):
            of_site = _features(see, latents[site.prompt.palette == kind])
            loss = loss + (_features(see, clips[palette == kind]) - of_site).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return ToyBatch(prompt, clips.detach())


def _features(see: torch.nn.Module, latents: Tensor) -> Tensor:
    """Mean features of clips, picture by picture in time."""
    return see(unpack(latents).transpose(1, 2)).mean(0)


def _taught(network: ToyNetwork, batches: Sequence[ToyBatch], updates: int) -> ToyNetwork:
    pool = joined(batches)
    latents = _latents(pool)

    def draw() -> ToyBatch:
        rows = torch.randint(len(latents), (_ROWS,))
        return ToyBatch(pool.prompt.of(rows), latents[rows])

    budget = Budget(updates=updates)
    student = copy.deepcopy(network).requires_grad_(True)
    return teach_flow(
        student, budget, causal=True, rate=_RATE, average=_AVERAGE, draw=draw
    ).network.requires_grad_(True)


def nearness(shared: Tensor, own: Tensor, fresh: Tensor) -> float:
    """Mean distance of what is shared to the nearest own clip over that to the nearest new one.

    1: own clips are no nearer than any; 0: they are what is shared.
    """
    flat = shared.flatten(1)
    to_own, to_fresh = (torch.cdist(flat, x.flatten(1)).amin(1).mean() for x in (own, fresh))
    return float(to_own / to_fresh)


@torch.no_grad()
def membership(student: ToyNetwork, own: ToyBatch, fresh: ToyBatch) -> float:
    """How often a clip that was learnt from has the smaller loss than a new one: .5 is chance."""
    losses = [_losses(student, batch) for batch in (own, fresh)]
    return ranked(-losses[0], -losses[1])


def ranked(own: Tensor, other: Tensor) -> float:
    """Share of pairs of which `own` is the greater: the area under the ROC curve."""
    gap = own[:, None] - other[None]
    return float((gap > 0).float().mean() + 0.5 * (gap == 0).float().mean())


def _losses(student: ToyNetwork, batch: ToyBatch) -> Tensor:
    clean, generator = _latents(batch), torch.Generator().manual_seed(11)
    total = torch.zeros(len(clean))
    for level in _LEVELS:
        noise = torch.randn(clean.shape[1:], generator=generator).expand_as(clean)
        sigma = torch.full((len(clean),), level)
        made = student.behind(clean, (1 - level) * clean + level * noise, sigma, batch.prompt)
        total += (made - clean).square().flatten(1).mean(1)
    return total
