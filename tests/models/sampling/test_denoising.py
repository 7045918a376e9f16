"""The order of calls, warm start, prompt switch, an expert for clean latents, held frames."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from rollcast.models.sampling.denoising import (
    Expert,
    denoise_chunk,
    prefill,
    recache,
    sample_chunk,
)
from rollcast.models.sampling.flow_schedule import FlowSchedule
from rollcast.models.sampling.renoise import Renoise
from rollcast.models.sampling.unipc import UniPC
from rollcast.models.student.causal_student import CausalStudent
from rollcast.models.student.config import CacheConfig

StudentMaker = Callable[..., CausalStudent]
CACHE = CacheConfig(window_frames=4, sink_frames=2, guard_sink=True)


class Recorder:
    """Stands in for a student and writes down its calls."""

    def __init__(self, student: CausalStudent) -> None:
        self.student, self.config = student, student.config
        self.calls: list[tuple[float, int, Tensor]] = []
        self.times: list[list[float]] = []

    def forward_rows(
        self, latents: Tensor, times: Tensor, contexts: Any, caches: Any, *rest: Any
    ) -> Any:
        self.times.append(times[0].tolist())
        self.calls.append((times[0, 0].item(), id(caches[0]), latents))
        return self.student.forward_rows(latents, times, contexts, caches, *rest)


def stream(student: CausalStudent, count: int = 1) -> tuple[Any, list[Any]]:
    context = student.encode_text(torch.ones(1, 5, 10))
    return context, [student.new_cache(CACHE, height=4, width=4) for _ in range(count)]


def test_clean_pass_follows_the_steps(make_student: StudentMaker) -> None:
    student = make_student()
    recorder: Any = Recorder(student)
    context, (cache,) = stream(student)
    noise, fresh = torch.randn(1, 2, 4, 4, 4), torch.randn(1, 2, 4, 4, 4)
    schedule = FlowSchedule()
    made = denoise_chunk(
        recorder, cache, noise, (1000.0, 625.0), context,
        schedule=schedule, renoise=lambda like: fresh, context_timestep=30.0,
    )  # fmt: skip
    assert [call[0] for call in recorder.calls] == [1000.0, 625.0, 30.0]
    assert recorder.calls[0][2] is noise
    assert torch.equal(recorder.calls[2][2], made)
    assert (cache.position, cache.end) == (2, 2)
    # Step 2 starts from step 1's sample with fresh noise.
    first = stream(student)[1][0]
    velocity = student(noise, torch.full((1, 2), 1000.0), context, first)
    sample = schedule.to_sample(velocity, noise, 1000.0, "velocity")
    assert torch.equal(recorder.calls[1][2], schedule.add_noise(sample, fresh, 625.0))


def test_a_cache_for_every_step_and_no_clean_pass(make_student: StudentMaker) -> None:
    student = make_student()
    recorder: Any = Recorder(student)
    context, caches = stream(student, 2)
    noise = torch.randn(1, 2, 4, 4, 4)
    for _ in range(2):
        denoise_chunk(recorder, caches, noise, (1000.0, 625.0), context, schedule=FlowSchedule())
    assert [call[:2] for call in recorder.calls] == 2 * [
        (1000.0, id(caches[0])),
        (625.0, id(caches[1])),
    ]
    assert [cache.position for cache in caches] == [4, 4]
    with pytest.raises(ValueError, match="2 caches for 1 steps"):
        denoise_chunk(student, caches, noise, (1000.0,), context, schedule=FlowSchedule())


def test_a_warm_start_is_what_was_generated(make_student: StudentMaker) -> None:
    student = make_student()
    context, (lived, warm) = stream(student, 2)
    schedule = FlowSchedule()
    made = torch.cat(
        [
            denoise_chunk(
                student, lived, torch.randn(1, 2, 4, 4, 4), (1000.0, 625.0), context,
                schedule=schedule,
            )
            for _ in range(4)
        ],
        dim=1,
    )  # fmt: skip
    prefill(student, warm, made, context, chunk_frames=2)
    assert warm.metadata() == lived.metadata()
    for name, tensor in lived.tensors().items():
        assert torch.equal(warm.tensors()[name], tensor)


def test_a_warm_start_may_begin_with_a_shorter_chunk(make_student: StudentMaker) -> None:
    student = make_student()
    context, (cache,) = stream(student)
    prefill(student, cache, torch.randn(1, 5, 4, 4, 4), context, chunk_frames=2, first_frames=1)
    assert cache.position == 5
    with pytest.raises(ValueError, match="do not divide"):
        prefill(student, cache, torch.randn(1, 4, 4, 4, 4), context, chunk_frames=3)


@pytest.mark.parametrize("rewrite_sink", [False, True])
def test_a_new_prompt_rewrites_the_window(make_student: StudentMaker, rewrite_sink: bool) -> None:
    student = make_student()
    context, (cache,) = stream(student)
    made = torch.randn(1, 10, 4, 4, 4)
    prefill(student, cache, made, context, chunk_frames=2)
    before = {name: tensor.clone() for name, tensor in cache.tensors().items()}
    other = student.encode_text(torch.randn(1, 5, 10))
    recache(student, cache, made[:, -6:], other, rewrite_sink=rewrite_sink)
    assert (cache.position, cache.end) == (10, 10)
    # Layer 0 keys see no text; layer 1's do.
    sink = slice(0, 2 * 4)
    for name in ("1.key", "1.value"):
        now = cache.tensors()[name]
        assert torch.equal(now[:, :, sink], before[name][:, :, sink]) is not rewrite_sink
        assert (now[:, :, 8:] != before[name][:, :, 8:]).any(-1).all()


def test_clean_latents_have_an_expert(make_student: StudentMaker) -> None:
    """It writes the cache from the clean chunk, seen by its own weights and its own text."""
    student, other = make_student(seed=0), make_student(seed=1)
    context, (cache, by_hand) = stream(student, 2)
    expert = Expert(other, other.encode_text(torch.ones(1, 5, 10)))
    generates: Any = Recorder(student)
    writes: Any = Recorder(other)
    noise, schedule = torch.randn(1, 2, 4, 4, 4), FlowSchedule()
    made = sample_chunk(
        generates, cache, noise, Renoise(schedule, (1000.0, 625.0), torch.ones_like), context,
        expert=Expert(writes, expert.context),
    )  # fmt: skip
    assert [call[0] for call in generates.calls] == [1000.0, 625.0]
    assert [call[0] for call in writes.calls] == [0.0]
    other(made, torch.zeros(1, 2), expert.context, by_hand)
    for name, tensor in by_hand.tensors().items():
        assert torch.equal(cache.tensors()[name], tensor)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(
            denoise_chunk(
                student, stream(student)[1][0], noise, (1000.0,), context, schedule=schedule
            ),
            made,
        )


def test_held_frames_stay_and_are_at_time_zero(make_student: StudentMaker) -> None:
    student = make_student()
    recorder: Any = Recorder(student)
    context, (cache,) = stream(student)
    image, noise = torch.randn(1, 1, 4, 4, 4), torch.randn(1, 2, 4, 4, 4)
    made = sample_chunk(recorder, cache, noise, UniPC(3), context, held=image)
    assert recorder.times == [[0.0, 999.0], [0.0, 908.0], [0.0, 713.0], [0.0, 0.0]]
    assert all(torch.equal(call[2][:, :1], image) for call in recorder.calls)
    assert torch.equal(recorder.calls[0][2][:, 1:], noise[:, 1:])
    assert torch.equal(made[:, :1], image)
    assert torch.equal(recorder.calls[-1][2], made)


def test_whole_times_change_what_the_student_is_told(make_student: StudentMaker) -> None:
    student = make_student()
    noise, schedule = torch.randn(1, 2, 4, 4, 4), FlowSchedule(6.0, twice=True)
    steps = schedule.warp((1000, 750, 500, 250))
    made: list[Tensor] = []
    for whole in (False, True):
        recorder: Any = Recorder(student)
        context, (cache,) = stream(student)
        sampler = Renoise(schedule, steps, torch.ones_like, whole_times=whole)
        made.append(sample_chunk(recorder, cache, noise, sampler, context))
        told = [call[0] for call in recorder.calls]
        wanted = [1000.0, 947.0, 858.0, 671.0] if whole else [pytest.approx(step) for step in steps]
        assert told == [*wanted, 0.0]
    assert not torch.equal(*made)
