"""The toy world as a task of objectives: clips of its law, passes of its networks."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from rollcast.models.student.config import CacheConfig
from rollcast.models.toy_world.config import STEPS as STEPS

from ..loop import Losses
from ..objectives.distillation import Rollout
from ..objectives.experts import ByPrompt, network_at
from ..objectives.levels import stepped
from .critic import ToyCritic
from .law import MOODS, STAY
from .network import ToyNetwork
from .picture import CHANNELS, SIZE
from .reading import read_moves, read_pictures
from .world import CHUNKS, Prompt, sample

ROWS = 32
FLOW_SIGMAS = tuple(3 * k / (10 + 2 * k) for k in range(10, 0, -1))
"""Ten even steps at shift 3, for a flow model."""


@dataclass(frozen=True, slots=True)
class ToyBatch:
    """Prompts, and clips that follow them where the data is looked at."""

    prompt: Prompt
    latents: Tensor | None = None


class ToyTask:
    """What objectives ask of the toy world.

    `teacher` is the real score: `oracle.Oracle`, or a bidirectional network. `scorer` is such a
    network in any case, which scores that learn begin as; with `tells_steps` they are told for how
    many steps the student was asked. Prompts are of `moods` alone.
    """

    def __init__(
        self,
        teacher: Any,
        scorer: ToyNetwork,
        *,
        rows: int = ROWS,
        chunks: int = CHUNKS,
        steps: Sequence[float] = STEPS,
        moods: Sequence[int] = tuple(range(len(MOODS))),
        tells_steps: bool = False,
    ) -> None:
        self.teacher = teacher
        self.steps: Sequence[float] = tuple(steps)
        self._scorer = scorer
        self._rows, self._chunks, self._moods = rows, chunks, tuple(moods)
        self._tells_steps = tells_steps

    def draw(self) -> ToyBatch:
        """Prompts with clips of the data."""
        prompt = self.prompts().prompt
        return ToyBatch(prompt, sample(prompt, self._chunks).latents)

    def prompts(self) -> ToyBatch:
        """Prompts alone."""
        drawn = Prompt.drawn(self._rows)
        mood = torch.tensor(self._moods)[torch.randint(len(self._moods), (self._rows,))]
        return ToyBatch(Prompt(mood, drawn.palette))

    def routed(self, part: int, parts: int) -> ToyTask:
        """The same for the prompts of one student of several: every `parts`-th mood."""
        task = copy.copy(self)
        task._moods = self._moods[part::parts]
        return task

    def estimate(
        self, model: ToyNetwork, batch: ToyBatch, noisy: Tensor, timestep: float
    ) -> Tensor:
        """Clean chunks in `noisy` ones, each behind the data's chunks before it."""
        assert batch.latents is not None
        sigma = torch.full((len(noisy),), timestep / 1000)
        return model.behind(batch.latents, noisy, sigma, batch.prompt)

    def renoise(self, sample: Tensor, timestep: float) -> Tensor:
        """`sample` at a denoising step, with fresh noise."""
        sigma = timestep / 1000
        return (1 - sigma) * sample + sigma * torch.randn_like(sample)

    def errors(self, batch: ToyBatch, made: Tensor, *, pixels: bool) -> Losses:
        """Mean squared error of latents, which are pictures."""
        del pixels
        assert batch.latents is not None
        return {"latent": (made - batch.latents).square().mean()}

    def new_score(self) -> nn.Module:
        """A bidirectional network that knows the data's scores, to learn on."""
        score = copy.deepcopy(self._scorer)
        if self._tells_steps:
            score.tell_steps()
        return score.requires_grad_(True)

    def asked(self, batch: ToyBatch, steps: int) -> ToyBatch:
        """The batch as a student that is told its number of steps gets it."""
        return replace(batch, prompt=batch.prompt.asked(steps))

    def new_critic(self) -> nn.Module:
        """A critic that knows nothing yet."""
        return ToyCritic()

    def score(
        self, model: Any, batch: ToyBatch, noisy: Tensor, sigma: Tensor, *, prompted: bool = True
    ) -> Tensor:
        """The clean clips that a bidirectional network, or the oracle, sees in whole noisy ones."""
        return model(noisy, sigma, batch.prompt if prompted else batch.prompt.emptied())

    def roll_out(
        self,
        student: Any,
        batch: ToyBatch,
        sigmas: Sequence[float],
        *,
        deterministic: bool = False,
    ) -> Rollout:
        """As `ScoredTask.roll_out`: the stream that the server makes, on the server's caches."""
        return stream(student, batch.prompt, sigmas, self._chunks, deterministic=deterministic)

    def last_step(self, student: Any, batch: ToyBatch, rollout: Rollout) -> Tensor:
        """As `ScoredTask.last_step`."""
        network = network_at(student, rollout.sigma)
        assert isinstance(network, ToyNetwork)
        sigma = torch.full((len(rollout.noisy),), rollout.sigma)
        return network.last_step(rollout.made, rollout.noisy, sigma, batch.prompt)

    def reward(self, batch: ToyBatch, made: Tensor) -> Tensor:
        """Share [B] of chunks that move, as the pictures show."""
        del batch
        return (read_moves(read_pictures(made)).outcome > STAY).float().mean(1)


@torch.no_grad()
def stream(
    student: nn.Module,
    prompt: Prompt,
    sigmas: Sequence[float],
    chunks: int,
    *,
    deterministic: bool = False,
    cache: CacheConfig | None = None,
) -> Rollout:
    """Chunk after chunk of a student's own, each taken through `sigmas`; a clean pass ends it.

    Experts each keep a cache of their own.
    """
    networks = [network_at(student, sigma) for sigma in sigmas]
    streams = {id(n): n.stream(prompt, cache) for n in networks if isinstance(n, ToyNetwork)}
    own = [streams[id(network)] for network in networks]
    seen, made = [], []
    for _ in range(chunks):
        x = torch.randn(len(prompt), 1, CHANNELS, SIZE, SIZE)
        clean = own[0].estimate(x, sigmas[0])
        for k in range(1, len(sigmas)):
            x = stepped(x, clean, sigmas[k - 1], sigmas[k], deterministic=deterministic)
            clean = own[k].estimate(x, sigmas[k])
        for each in streams.values():
            each.keep(clean)
        seen.append(x)
        made.append(clean)
    return Rollout(torch.cat(seen, 1), torch.cat(made, 1), sigmas[-1])


def clips_of(
    student: nn.Module,
    prompt: Prompt,
    sigmas: Sequence[float],
    chunks: int,
    *,
    deterministic: bool = False,
    cache: CacheConfig | None = None,
) -> Tensor:
    """Clips [n, chunks, 12, 12, 12] of a student; of several, each makes those of its moods.

    One that is told its number of steps is told that of `sigmas`.
    """
    prompt = prompt.asked(len(sigmas))
    if not isinstance(student, ByPrompt):
        rollout = stream(student, prompt, sigmas, chunks, deterministic=deterministic, cache=cache)
        return rollout.made
    clips = torch.empty(len(prompt), chunks, CHANNELS, SIZE, SIZE)
    for k, network in enumerate(student.networks):
        rows = (prompt.mood % len(student.networks) == k).nonzero()[:, 0]
        clips[rows] = clips_of(
            network, prompt.of(rows), sigmas, chunks, deterministic=deterministic, cache=cache
        )
    return clips


@torch.no_grad()
def whole_clips(
    score: Any, prompt: Prompt, steps: int, *, chunks: int = CHUNKS, guidance: float = 1.0
) -> Tensor:
    """Clips of a bidirectional score by Euler's method, whole ones at once; shift 3."""
    share = torch.linspace(1, 0, steps + 1)
    # an oracle's estimate has no scale at pure noise
    levels = (3 * share / (1 + 2 * share)).clamp(max=0.999).tolist()
    x = torch.randn(len(prompt), chunks, CHANNELS, SIZE, SIZE)
    for now, then in pairwise(levels):
        sigma = torch.full((len(prompt),), now)
        clean = score(x, sigma, prompt)
        if guidance != 1:
            untold = score(x, sigma, prompt.emptied())
            clean = untold + guidance * (clean - untold)
        x = stepped(x, clean, now, then, deterministic=True)
    return x
