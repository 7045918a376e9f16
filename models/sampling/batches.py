"""Calls of a student on several chunks as one batch, each row at its own noise level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..student.causal_student import CausalStudent
from ..student.conditioning import Conditions, TextContext, stack_conditions
from ..student.kv_cache import StudentCache
from .flow_schedule import FlowSchedule


@dataclass(frozen=True, slots=True)
class StepInput:
    """One row of a batch: a denoising step, or a clean pass.

    A chunk's first step begins with `noise` [1, F, C, h, w], a later one with the `sample` of the
    step before, noised again. With `clean_pass` the clean `sample` goes through the student as it
    is, for nothing but its keys and values. `advances` says whether the call is the chunk's last
    one on its cache: with a cache for each step always, with one cache the clean pass.
    """

    timestep: float
    noise: Tensor | None
    sample: Tensor | None
    context: TextContext
    conditions: Conditions
    cache: StudentCache
    advances: bool = True
    clean_pass: bool = False

    def student_input(self, schedule: FlowSchedule) -> Tensor:
        """What the student gets [1, F, C, h, w]. Raises ValueError if it is not given."""
        if self.clean_pass and self.sample is not None:
            return self.sample
        if self.noise is None or self.clean_pass:
            raise ValueError("a step needs noise, and a clean pass the clean sample")
        if self.sample is None:
            return self.noise
        return schedule.add_noise(self.sample, self.noise, self.timestep)


@torch.no_grad()
def denoise_rows(
    student: CausalStudent, rows: Sequence[StepInput], schedule: FlowSchedule
) -> list[Tensor]:
    """The clean latents [1, F, C, h, w] that each row predicts; advances caches as rows say.

    One row alone is computed exactly as `CausalStudent.forward` does, and a chunk's rows one after
    the other as `denoise_chunk` does. In a batch the products may be summed in another order, which
    is all that may differ. A clean pass gives its sample back. Raises ValueError for a step without
    noise and a clean pass without a sample.
    """
    inputs = [row.student_input(schedule) for row in rows]
    frames = inputs[0].shape[1]
    x = torch.cat(inputs)
    times = torch.tensor([[row.timestep] * frames for row in rows], device=x.device)
    prediction = student.forward_rows(
        x,
        times,
        [row.context for row in rows],
        [row.cache for row in rows],
        stack_conditions([row.conditions for row in rows]),
    )
    for row in rows:
        if row.advances:
            row.cache.advance(frames)
    kind = student.config.prediction
    return [
        given
        if row.clean_pass
        else schedule.to_sample(prediction[k : k + 1], given, row.timestep, kind)
        for k, (row, given) in enumerate(zip(rows, inputs, strict=True))
    ]
