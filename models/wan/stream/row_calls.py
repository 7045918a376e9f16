"""Rows of chunks to calls of a published student, as its recipe says: the work of `denoise`."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ...batch_shape import places_do_not_matter
from ...chunk_steps import ChunkSteps
from ...past_calls import PastCall
from ...sampling.batches import CallRow, call_rows
from ...sampling.carried import carried, taken_apart
from ...sampling.denoising import prefill
from ...sampling.joint_window import JointWindow, step_window
from ...sampling.recipe import Recipe
from ...staged_model import ChunkPlan, Row, counter_noise
from ...student.cache_pool import CachePool
from ...student.causal_student import CausalStudent
from ...student.step_graphs import why_without
from ...student.student_cache import StudentCache
from ...upload import uploaded
from ..presets.preset import Preset
from .conditioning.conditioner import CallInputs, ChunkPlace, Conditioner, Entry, PlanPart, merged
from .contexts import Contexts
from .plan_parts import parts_of, place_of, steps_of

_WINDOW = "window"


def records(preset: Preset) -> bool:
    """Whether a preset's calls become CUDA graphs (`step_graphs.why_without` says why not)."""
    return why_without(preset.cache, joint=preset.recipe.sampler == "joint") is None


@dataclass(frozen=True, slots=True)
class _Told:
    """A row with all that is known of its chunk."""

    row: Row
    place: ChunkPlace
    parts: dict[str, PlanPart]
    inputs: CallInputs
    recipe: Recipe
    """With the steps that the chunk takes."""
    steps: tuple[int | None, ...]
    """For each step's call which of those it is; None: none."""
    step: int | None
    """Which step of its chunk the call is; None: a clean pass, or none of its calls."""


class RowCalls:
    """A student of `preset` at work on latents of `size` (rows, columns), for any streams.

    `writer` has the weights for clean latents of a recipe with `clean_expert`; `kept` is how many
    texts' keys and values are at hand. Raises ValueError if there is one without the other.
    """

    def __init__(
        self,
        preset: Preset,
        student: CausalStudent,
        conditioners: Sequence[Conditioner[Any]],
        size: tuple[int, int],
        *,
        kept: int,
        writer: CausalStudent | None = None,
    ) -> None:
        self.recipe = preset.recipe
        if self.recipe.clean_expert != (writer is not None):
            raise ValueError(
                f"{preset.name}: clean_expert {self.recipe.clean_expert}, and weights for it "
                f"{writer is not None}"
            )
        self.student = student
        self.conditioners = tuple(conditioners)
        self.chunk_steps: ChunkSteps = self.recipe.chunk_steps()
        self._cache = preset.cache
        self._latent = (student.config.in_channels, *size)
        self._pool = CachePool()
        self._contexts = Contexts(student, kept)
        self._writer = self.student if writer is None else writer
        self._writer_contexts = self._contexts if writer is None else Contexts(writer, kept)

    @property
    def weight(self) -> Tensor:
        """One of the student's weights: latents are of its type, on its device."""
        return self.student.patch_embedding.weight

    def new_cache(self) -> StudentCache:
        """An empty cache, with room for what the recipe and the conditioners keep there."""
        _, height, width = self._latent
        cache = self.student.new_cache(self._cache, height=height, width=width)
        recipe = self.recipe
        if recipe.sampler == "joint":
            blocks = (len(recipe.steps) - 1) * recipe.chunk_frames
            with torch.inference_mode(False):
                cache.kept[_WINDOW] = self.weight.new_zeros(1, blocks, *self._latent)
        for each in self.conditioners:
            each.room(cache, self._shape(recipe.chunk_frames))
        return self._pool.seat(cache) if self.makes_batches else cache

    @property
    def makes_batches(self) -> bool:
        """Whether calls of several streams may be one: so far on a CPU, where that was tried.

        A joint window is moved stream by stream.
        """
        on_cpu = self.weight.device.type == "cpu"
        joint = self.recipe.sampler == "joint"
        return on_cpu and not joint and places_do_not_matter(self.student.config)

    def denoise(self, rows: Sequence[Row], *, fill: int = 1) -> list[Tensor]:
        """The latents of each row behind its call, with what its sampler remembers.

        A chunk that does not make the call is given back as it was.
        """
        told = [self._told(row) for row in rows]
        for each in told:
            if self.chunk_steps.first_on_cache(each.row.call):
                self._arrive(each)
        return self._called(told, fill)

    def rebuild(self, past: Sequence[PastCall], kept: Mapping[str, Tensor]) -> StudentCache:
        """A cache much like the one that noted these calls: they are made again.

        `kept` is what else was in it (`StudentCache.kept`).
        """
        cache = self.new_cache()
        if not past:
            return cache
        parts = [parts_of(each.plan) for each in past]
        sinks = self._cache.sink_frames if self._cache.guard_sink else 0
        since = [k for k, each in enumerate(past) if each.start >= sinks]
        for each in self.conditioners:
            rewritten = each.rewritten([parts[k][each.kind] for k in since])
            for k, part in zip(since, rewritten, strict=True):
                parts[k][each.kind] = part
        window = max(each.start + each.frames for each in past) - self._cache.window_frames
        for call, told_parts in zip(past, parts, strict=True):
            told = self._told(Row(call.plan, call.call, call.latents, cache), told_parts)
            is_held = not call.sets_sink or call.start + call.frames > window
            if not call.plan.restart:
                cache.jump(call.start)
            self._arrive(told, prefills=is_held)
            if not is_held:
                # of this one only the sink that came with it is still there
                cache.note(call)
                continue
            cache.stand_off(call.rope_offset)
            self._called([told])
        for name, tensor in cache.kept.items():
            if name in kept:
                tensor.copy_(kept[name])
        return cache

    def _called(self, told: Sequence[_Told], fill: int = 1) -> list[Tensor]:
        """What each row's call leaves."""
        starts = [(each.row.cache.position, each.row.cache.rope_offset) for each in told]
        made: list[Tensor | None] = [each.row.latents for each in told]
        batches: dict[tuple[CausalStudent, int], list[tuple[int, CallRow]]] = defaultdict(list)
        for k, each in enumerate(told):
            call = self.chunk_steps.calls[each.row.call]
            if not call.clean_pass and each.step is None:
                continue
            if self.recipe.sampler == "joint" and not call.clean_pass:
                made[k] = self._step_window(each)
                continue
            row = self._clean_pass(each) if call.clean_pass else self._step(each)
            student = self._writer if call.clean_pass else self.student
            batches[student, row.latents.shape[1]].append((k, row))
        for (student, _), batch in batches.items():
            results = call_rows(student, [row for _, row in batch], fill=fill)
            for (k, row), latents in zip(batch, results, strict=True):
                made[k] = latents
                if row.sampler is not None:
                    made[k] = carried(latents, row.memory, row.sampler, row.step)
        for each, before in zip(told, starts, strict=True):
            self._note(each, *before)
        return [self._left(each, latents) for each, latents in zip(told, made, strict=True)]

    def _note(self, told: _Told, start: int, rope_offset: float) -> None:
        """Behind a chunk's last call on a cache: what it was given, so that it can be again."""
        row, cache = told.row, told.row.cache
        if self.chunk_steps.last_on_cache(row.call):
            # latents that were given stand before the first chunk, and come with it
            start = 0 if row.plan.restart else start
            frames, sets_sink = cache.position - start, cache.takes_sink
            call = PastCall(row.plan, row.call, row.latents, start, frames, rope_offset, sets_sink)
            cache.note(call)

    def given(self, plan: ChunkPlan) -> Tensor | None:
        """Clean latents that stand before the stream's first chunk, if this is it."""
        if not plan.restart:
            return None
        return self._inputs(parts_of(plan), place_of(plan)).given

    def _inputs(self, parts: dict[str, PlanPart], place: ChunkPlace) -> CallInputs:
        return merged([each.inputs(parts[each.kind], place) for each in self.conditioners])

    def _told(self, row: Row, parts: dict[str, PlanPart] | None = None) -> _Told:
        """`parts`: in place of the plan's."""
        place = place_of(row.plan)
        parts = parts_of(row.plan) if parts is None else parts
        recipe, steps = self.recipe, self.recipe.step_of_call(place.chunk)
        kept = recipe.kept_steps(place.chunk, steps_of(row.plan))
        if len(kept) < len(recipe.steps):
            # each step has a call of its own, for there are no `first_steps`
            among = {call: k for k, call in enumerate(kept)}
            steps = tuple(among.get(k) for k in range(len(recipe.steps)))
            recipe = replace(recipe, steps=tuple(recipe.steps[k] for k in kept))
        step = steps[row.call] if row.call < len(steps) else None
        return _Told(row, place, parts, self._inputs(parts, place), recipe, steps, step)

    def _arrive(self, told: _Told, *, prefills: bool = True) -> None:
        """What a chunk does to a cache before its first call on it."""
        cache, plan, inputs = told.row.cache, told.row.plan, told.inputs
        if plan.restart:
            cache.reset()
        assert inputs.text is not None, "every student attends to a text"
        context = self._contexts.of(inputs.text, inputs.image)
        entry = Entry(cache, plan.restart, self.student, context, inputs.conditions)
        for each in self.conditioners:
            each.arrive(told.parts[each.kind], entry)
        if plan.restart and inputs.given is not None and prefills:
            prefill(
                self._writer,
                cache,
                self._there(inputs.given),
                self._writer_contexts.of(inputs.text, inputs.image),
                chunk_frames=self.recipe.chunk_frames,
                first_frames=self.recipe.first_frames,
            )

    def _left(self, told: _Told, latents: Tensor | None) -> Tensor:
        """Behind a call; what conditioners note when it was the last one on its cache."""
        assert latents is not None, "a chunk's first call is always made"
        if self.chunk_steps.last_on_cache(told.row.call):
            for each in self.conditioners:
                each.leave(told.parts[each.kind], told.row.cache, latents)
        return latents

    def _step(self, told: _Told) -> CallRow:
        row, inputs, step = told.row, told.inputs, told.step
        assert step is not None and inputs.text is not None
        recipe, steps = told.recipe, told.steps
        coming = itertools.count(step + 1)

        def renoise(latents: Tensor) -> Tensor:
            # drawn by the number of the call that sees it, whichever step of its chunk that is
            return self._noise(row.plan, steps.index(next(coming)), latents.shape)

        begins = None if inputs.begin is None else inputs.begin.timestep
        sampler = recipe.sampler_for(told.place.chunk, renoise, begins)
        if row.latents is None:
            latents, memory = self._first(told), {}
        else:
            latents, memory = taken_apart(row.latents, sampler, step - 1)
        return CallRow(
            latents,
            self._contexts.of(inputs.text, inputs.image),
            inputs.conditions,
            row.cache,
            sampler,
            step,
            memory,
            advances=self.chunk_steps.last_on_cache(row.call),
            held=None if inputs.held is None else self._there(inputs.held),
            settles=self.recipe.settles_first and told.place.chunk == 0,
        )

    def _first(self, told: _Told) -> Tensor:
        """What a chunk's first step sees: noise, or something under noise."""
        noise = self._noise(told.row.plan, 0, self._shape(told.place.frames))
        begin = told.inputs.begin
        if begin is None:
            return noise
        return begin.share * noise + (1 - begin.share) * self._there(begin.latents)

    def _clean_pass(self, told: _Told) -> CallRow:
        row, inputs = told.row, told.inputs
        assert row.latents is not None and inputs.text is not None
        return CallRow(
            row.latents,
            self._writer_contexts.of(inputs.text, inputs.image),
            inputs.conditions,
            row.cache,
            clean_timestep=self.chunk_steps.calls[row.call].timestep,
            advances=self.chunk_steps.last_on_cache(row.call),
        )

    def _step_window(self, told: _Told) -> Tensor:
        """Take the stream's joint window a step on; what its oldest block is thought to be.

        The window lies where the cache is, its newest block at the end: the first chunk fills it,
        every later one moves it by a block. While it fills, no clean pass is made: until the oldest
        block is clean nothing attends to it.
        """
        row, recipe, inputs = told.row, self.recipe, told.inputs
        assert inputs.text is not None
        room, frames, count = row.cache.kept[_WINDOW], recipe.chunk_frames, len(recipe.steps)
        held = row.call if told.place.chunk == 0 else count - 1
        before = room[:, room.shape[1] - held * frames :].clone() if held else None
        window = JointWindow(before, tuple(range(held, 0, -1)))
        number = count + row.call * count

        def renoise(latents: Tensor, part: slice) -> Tensor:
            nonlocal number
            number += 1
            return self._noise(row.plan, number, latents[:, part].shape)

        oldest = step_window(
            self.student,
            row.cache,
            window,
            self._noise(row.plan, row.call, self._shape(frames)),
            recipe.timesteps(),
            self._contexts.of(inputs.text, inputs.image),
            inputs.conditions,
            block_frames=frames,
            schedule=recipe.schedule(),
            renoise=renoise,
        )
        if window.latents is not None:
            room[:, room.shape[1] - window.latents.shape[1] :] = window.latents
        return oldest.latents

    def _noise(self, plan: ChunkPlan, step: int, shape: Sequence[int]) -> Tensor:
        """`counter_noise` where the student is, in its type."""
        return counter_noise(plan, step, shape, self.weight.device, self.weight.dtype)

    def _there(self, tensor: Tensor) -> Tensor:
        """`tensor` where the student is, in its type."""
        return uploaded(tensor, self.weight.device, self.weight.dtype)

    def _shape(self, frames: int) -> tuple[int, ...]:
        return (1, frames, *self._latent)
