"""Calls of a student as batches: the one place where a chunk's steps and clean passes are made.

Whoever generates goes through `call_rows`: one chunk after another (`denoising`), a stream by its
recipe (`chunk_maker`), or rows of several streams and noise levels at once (staged models).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..student.causal_student import CausalStudent
from ..student.conditioning import Conditions, TextContext, stack_conditions
from ..student.student_cache import StudentCache
from .sampler import Sampler, SamplerMemory


@dataclass(frozen=True, slots=True)
class CallRow:
    """One row of a batch: a step of a `sampler`, or without one a pass at `clean_timestep`.

    `latents` [B, F, C, h, w] are what the call before left, noise before the first. A pass sees
    clean ones as they are, for nothing but its keys and values. `step` counts the sampler's, and
    `memory` is what it keeps of the chunk; a step changes it. `advances` says whether the call is
    the chunk's last one on its cache. `held` [B, n, C, h, w] are clean latents that the chunk
    begins with: they stand in the place of whatever a step makes of them, and the student is told
    that they are at time 0 (LongLive 2). With `settles` the steps behind this one are then made on
    the same cache, for nothing but the last one's keys and values (StreamDiffusionV2); its sampler
    has to draw for each step what the chunk's own next calls do.
    """

    latents: Tensor
    context: TextContext
    conditions: Conditions
    cache: StudentCache
    sampler: Sampler | None = None
    step: int = 0
    memory: SamplerMemory = field(default_factory=dict)
    clean_timestep: float = 0.0
    advances: bool = True
    held: Tensor | None = None
    settles: bool = False

    def times(self) -> list[float]:
        """What the student is told of time, frame by frame."""
        sampler = self.sampler
        time = self.clean_timestep if sampler is None else sampler.timesteps[self.step]
        still = 0 if self.held is None or sampler is None else self.held.shape[1]
        return [0.0] * still + [time] * (self.latents.shape[1] - still)


@torch.no_grad()
def call_rows(student: CausalStudent, rows: Sequence[CallRow], *, fill: int = 1) -> list[Tensor]:
    """What each row's call leaves [B, F, C, h, w]; advances caches as rows say.

    Behind a sampler's last step that is the clean chunk; a pass gives its latents back. One row
    alone is computed exactly as `CausalStudent.forward` does. In a batch, of rows of one length
    with B 1, the products may be summed in another order, which is all that may differ: that order
    depends on how many rows there are. With fewer than `fill` copies of the last one make them up.
    """
    given = [holding(row.held, row.latents) for row in rows]
    copies = max(0, fill - len(rows))
    told = [*rows, *[rows[-1]] * copies]
    given_all = [*given, *[given[-1]] * copies]
    x = given_all[0] if len(given_all) == 1 else torch.cat(given_all)
    each = [torch.tensor(row.times()) for row in told]
    times = torch.cat(
        [time.expand(latents.shape[0], -1) for time, latents in zip(each, given_all, strict=True)]
    )
    prediction = student.forward_rows(
        x,
        times,
        [row.context for row in told],
        [row.cache for row in told],
        stack_conditions([row.conditions for row in told]),
    )
    kind, made, first = student.config.prediction, list[Tensor](), 0
    for row, latents in zip(rows, given, strict=True):
        if row.advances and not row.settles:
            row.cache.advance(latents.shape[1])
        own = prediction[first : first + latents.shape[0]]
        first += latents.shape[0]
        if row.sampler is None:
            made.append(latents)
        else:
            after = row.sampler.step(row.step, latents, own, kind, row.memory)
            made.append(holding(row.held, after))
            if row.settles:
                _settle(student, row, made[-1])
    return made


def _settle(student: CausalStudent, row: CallRow, after: Tensor) -> None:
    """Make the steps behind `row`'s, which left `after`, on its cache; what they give is lost."""
    assert row.sampler is not None
    if row.step + 1 < len(row.sampler.timesteps):
        memory = dict(row.memory)
        call_rows(student, [replace(row, latents=after, step=row.step + 1, memory=memory)])
    elif row.advances:
        row.cache.advance(after.shape[1])


def holding(held: Tensor | None, latents: Tensor) -> Tensor:
    """`latents` that begin with `held`."""
    return latents if held is None else torch.cat((held, latents[:, held.shape[1] :]), dim=1)
