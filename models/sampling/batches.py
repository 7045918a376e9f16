"""Denoising steps of several chunks as one batch, each row at its own noise level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..student.causal_student import CausalStudent
from ..student.conditioning import Conditions, TextContext, stack_conditions
from ..student.kv_cache import StudentCache
from .denoising import FlowSchedule


@dataclass(frozen=True, slots=True)
class StepInput:
    """One row: `noise` [1, F, C, h, w], the previous step's `sample` or None for the first step."""

    timestep: float
    noise: Tensor
    sample: Tensor | None
    context: TextContext
    conditions: Conditions
    cache: StudentCache


@torch.no_grad()
def denoise_rows(
    student: CausalStudent, rows: Sequence[StepInput], schedule: FlowSchedule
) -> list[Tensor]:
    """The clean latents [1, F, C, h, w] that each row predicts; advances the rows' caches.

    One row alone is computed exactly as `CausalStudent.forward` does. In a batch the products may
    be summed in another order, which is all that may differ.
    """
    noisy = [_noisy(row, schedule) for row in rows]
    frames = noisy[0].shape[1]
    x = torch.cat(noisy)
    times = torch.tensor([[row.timestep] * frames for row in rows], device=x.device)
    prediction = student.forward_rows(
        x,
        times,
        [row.context for row in rows],
        [row.cache for row in rows],
        stack_conditions([row.conditions for row in rows]),
    )
    for row in rows:
        row.cache.advance(frames)
    kind = student.config.prediction
    return [
        schedule.to_sample(prediction[k : k + 1], noisy[k], row.timestep, kind)
        for k, row in enumerate(rows)
    ]


def _noisy(row: StepInput, schedule: FlowSchedule) -> Tensor:
    if row.sample is None:
        return row.noise
    return schedule.add_noise(row.sample, row.noise, row.timestep)
