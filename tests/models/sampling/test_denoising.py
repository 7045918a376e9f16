"""Schedule numbers, the order of calls, warm start and prompt switch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from rollcast.models.sampling.denoising import denoise_chunk, prefill, recache
from rollcast.models.sampling.flow_schedule import FlowSchedule
from rollcast.models.student.causal_student import CausalStudent
from rollcast.models.student.config import CacheConfig

StudentMaker = Callable[..., CausalStudent]
CACHE = CacheConfig(window_frames=4, sink_frames=2, guard_sink=True)


def test_published_step_list() -> None:
    steps = FlowSchedule(5.0).warp((1000, 750, 500, 250))
    assert steps == (1000.0, 937.5, 833.3333129882812, 625.0)
    assert FlowSchedule(5.0).warp((1000, 0)) == (1000.0, 0.0)
    with pytest.raises(ValueError, match="outside"):
        FlowSchedule().warp((1001,))


def test_sigma_is_looked_up_not_divided() -> None:
    schedule = FlowSchedule(8.0)
    # 8 * 0.5 / (1 + 7 * 0.5)
    assert schedule.sigma(8000 / 9) == pytest.approx(8 / 9, abs=1e-6)
    nearest = min(schedule.timesteps.tolist(), key=lambda entry: abs(entry - 757))
    assert schedule.sigma(757) == pytest.approx(nearest / 1000, abs=1e-6)
    assert schedule.sigma(757) != 0.757
    assert schedule.sigma(0) == pytest.approx(8 * 0.001 / (1 + 7 * 0.001), abs=1e-6)


def test_noise_and_sample_undo_each_other() -> None:
    torch.manual_seed(0)
    schedule, sample, noise = FlowSchedule(), torch.randn(2, 3), torch.randn(2, 3)
    noisy = schedule.add_noise(sample, noise, 833.3333)
    back = schedule.to_sample(noise - sample, noisy, 833.3333, "velocity")
    torch.testing.assert_close(back, sample, atol=1e-6, rtol=1e-6)
    assert schedule.to_sample(sample, noisy, 833.3333, "sample") is sample


class Recorder:
    """Stands in for a student and writes down its calls."""

    def __init__(self, student: CausalStudent) -> None:
        self.student, self.config = student, student.config
        self.calls: list[tuple[float, int, Tensor]] = []

    def __call__(self, latents: Tensor, times: Tensor, context: Any, cache: Any, *rest: Any) -> Any:
        self.calls.append((times[0, 0].item(), id(cache), latents))
        return self.student(latents, times, context, cache, *rest)


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
