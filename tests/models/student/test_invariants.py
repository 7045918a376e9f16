"""What must hold of a stream whatever the weights: order, memory, sessions, snapshots, time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from rollcast.kernels.block_sparse.sparse_policy import SparsePolicy
from rollcast.models.sampling.denoising import denoise_chunk
from rollcast.models.sampling.flow_schedule import FlowSchedule
from rollcast.models.student.causal_student import CausalStudent
from rollcast.models.student.conditioning import Conditions, TextContext
from rollcast.models.student.config import CacheConfig, RopeFamily
from rollcast.models.student.student_cache import StudentCache

StudentMaker = Callable[..., CausalStudent]
ConditionsMaker = Callable[[CausalStudent, int], Conditions]
SCHEDULE = FlowSchedule()
STEPS = SCHEDULE.warp((1000, 500))
SIDE = 4
# float32 sums in another order, through two layers, on outputs of size 1 to 10.
ATOL = 2e-5
SHAPES = [(0, 2, 1), (1, 4, 1), (2, 4, 2), (3, 3, 3), (1, 3, 2)]


def latents(frames: int) -> Tensor:
    return torch.randn(1, frames, 4, SIDE, SIDE)


def new_cache(student: CausalStudent, config: CacheConfig) -> StudentCache:
    return student.new_cache(config, height=SIDE, width=SIDE)


@pytest.mark.parametrize("conditioned", [False, True], ids=["wan", "conditioned"])
@pytest.mark.parametrize("family", ["slot", "absolute", "bounded", "top_aligned"])
@pytest.mark.parametrize(("sinks", "window", "chunk"), SHAPES)
def test_stream_equals_one_offline_pass(
    make_student: StudentMaker,
    make_conditions: ConditionsMaker,
    conditioned: bool,
    family: str,
    sinks: int,
    window: int,
    chunk: int,
) -> None:
    student = make_student(
        conditioned=conditioned,
        rope="absolute" if family == "bounded" else family,
        trained_frames=sinks + window + 2 if family == "top_aligned" else 0,
    )
    config = CacheConfig(window_frames=window, sink_frames=sinks, bounded_sink=family == "bounded")
    frames = 5 * chunk + window // chunk * chunk
    x, times = latents(frames), torch.rand(1, frames) * 1000
    conditions = make_conditions(student, frames)
    context = student.encode_text(torch.randn(1, 3, 10))
    whole = student.forward_sequence(
        x, times, context, conditions, cache=config, chunk_frames=chunk
    )
    cache = new_cache(student, config)
    cache.poison()
    for start in range(0, frames, chunk):
        span = slice(start, start + chunk)
        made = student(x[:, span], times[:, span], context, cache, conditions.part(start, chunk))
        cache.advance(chunk)
        assert torch.isfinite(made).all()
        torch.testing.assert_close(made, whole[:, span], atol=ATOL, rtol=1e-5)


def check_stream_behind(
    student: CausalStudent,
    config: CacheConfig,
    told: tuple[Tensor, Tensor, Tensor],
    context: TextContext,
    whole: Tensor,
    chunk: int,
    timestep: float = 0.0,
) -> None:
    """A stream of `told` clean and noisy latents and times makes `whole`, chunk by chunk.

    Its clean chunks are written at `timestep`.
    """
    clean, noisy, times = told
    cache = new_cache(student, config)
    cache.poison()
    for start in range(0, clean.shape[1], chunk):
        span = slice(start, start + chunk)
        made = student(noisy[:, span], times[:, span], context, cache)
        torch.testing.assert_close(made, whole[:, span], atol=ATOL, rtol=1e-5)
        student(clean[:, span], torch.full((1, chunk), timestep), context, cache)
        cache.advance(chunk)


@pytest.mark.parametrize("family", ["slot", "absolute", "bounded"])
@pytest.mark.parametrize(("sinks", "window", "chunk"), SHAPES)
def test_steps_behind_clean_chunks_equal_those_of_a_stream(
    make_student: StudentMaker, family: str, sinks: int, window: int, chunk: int
) -> None:
    student = make_student(rope="absolute" if family == "bounded" else family)
    config = CacheConfig(window_frames=window, sink_frames=sinks, bounded_sink=family == "bounded")
    frames = 5 * chunk + window // chunk * chunk
    clean, noisy, times = latents(frames), latents(frames), torch.rand(1, frames) * 1000
    context = student.encode_text(torch.randn(1, 3, 10))
    past = student.clean_past(clean, context, cache=config, chunk_frames=chunk, timestep=20.0)
    whole = student.forward_behind(past, noisy, times, context)
    check_stream_behind(student, config, (clean, noisy, times), context, whole, chunk, timestep=20)
    # the past counts
    other = student.clean_past(clean.flip(1), context, cache=config, chunk_frames=chunk)
    assert not torch.allclose(student.forward_behind(other, noisy, times, context), whole)


@pytest.mark.parametrize("kind", ["ema", "sparse", "sparse ema"])
@pytest.mark.parametrize(("sinks", "window", "chunk"), [(1, 3, 1), (2, 4, 2), (2, 3, 1)])
def test_averaging_sinks_and_thin_windows_are_taught_as_they_are_served(
    make_student: StudentMaker, kind: str, sinks: int, window: int, chunk: int
) -> None:
    """Raw keys: what a stream does to its cache chunk by chunk, for all chunks at once."""
    student = make_student(rope="slot")
    plain = CacheConfig(window_frames=window, sink_frames=sinks)
    policy = SparsePolicy("top_k", query_block=2, key_block=2, max_density=0.4)
    config = CacheConfig(
        window_frames=window,
        sink_frames=sinks,
        sink="ema" if "ema" in kind else "static",
        alpha=0.6,
        sparse=policy if "sparse" in kind else None,
    )
    frames = 5 * chunk + window // chunk * chunk
    clean, noisy, times = latents(frames), latents(frames), torch.rand(1, frames) * 1000
    context = student.encode_text(torch.randn(1, 3, 10))
    past = student.clean_past(clean, context, cache=config, chunk_frames=chunk)
    whole = student.forward_behind(past, noisy, times, context)
    check_stream_behind(student, config, (clean, noisy, times), context, whole, chunk)
    other = student.clean_past(clean, context, cache=plain, chunk_frames=chunk)
    assert not torch.allclose(student.forward_behind(other, noisy, times, context), whole)


def test_gradients_go_through_the_past_unless_it_is_detached(make_student: StudentMaker) -> None:
    student = make_student(rope="slot").requires_grad_(True)
    config = CacheConfig(window_frames=2, sink_frames=1)
    context = student.encode_text(torch.randn(1, 5, 10))
    clean = latents(4).requires_grad_(True)
    past = student.clean_past(clean, context, cache=config, chunk_frames=1)
    times = torch.full((1, 1), 500.0)
    for seen, reaches in ((past, True), (past.detached(), False)):
        made = student.forward_behind(seen, latents(4), times, context)
        (gradient,) = torch.autograd.grad(
            made.square().mean(), clean, retain_graph=True, allow_unused=True
        )
        assert (gradient is not None and bool(gradient.any())) is reaches


@pytest.mark.parametrize("family", ["slot", "absolute"])
def test_the_future_changes_nothing(make_student: StudentMaker, family: RopeFamily) -> None:
    student = make_student(rope=family)
    config = CacheConfig(window_frames=4, sink_frames=1)
    context = student.encode_text(torch.randn(1, 5, 10))
    x, times = latents(8), torch.full((1, 1), 500.0)
    other = torch.cat((x[:, :6], latents(2)), dim=1)
    one, two = (
        student.forward_sequence(y, times, context, cache=config, chunk_frames=2)
        for y in (x, other)
    )
    assert torch.equal(one[:, :6], two[:, :6])
    assert not torch.equal(one[:, 6:], two[:, 6:])


def test_offline_pass_is_differentiable_to_everything(
    make_student: StudentMaker, make_conditions: ConditionsMaker
) -> None:
    student = make_student(conditioned=True, rope="slot").requires_grad_(True)
    context = student.encode_text(torch.randn(1, 5, 10))
    made = student.forward_sequence(
        latents(4),
        torch.full((1, 1), 500.0),
        context,
        make_conditions(student, 4),
        cache=CacheConfig(window_frames=2, sink_frames=1),
        chunk_frames=1,
    )
    made.square().mean().backward()
    idle = [name for name, p in student.named_parameters() if p.grad is None or not p.grad.any()]
    # A key bias moves all scores of a query alike, but the norm behind it makes it count.
    assert idle == []


class Stream:
    """A session: caches, noise and a log of prompts."""

    def __init__(
        self, student: CausalStudent, seed: int, *, per_step: bool = False, **config: Any
    ) -> None:
        self.student = student
        self.noise = torch.Generator().manual_seed(seed)
        settings: dict[str, Any] = {"window_frames": 3, "sink_frames": 1}
        cache = CacheConfig(**(settings | config))
        count = len(STEPS) if per_step else 1
        self.caches = [new_cache(student, cache) for _ in range(count)]
        self.per_step = per_step
        self.contexts = [
            student.encode_text(torch.randn(1, 5, 10, generator=torch.Generator().manual_seed(i)))
            for i in range(2)
        ]

    def draw(self, like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=self.noise)

    def chunk(self, prompt: int = 0) -> Tensor:
        return denoise_chunk(
            self.student,
            self.caches if self.per_step else self.caches[0],
            self.draw(torch.empty(1, 1, 4, SIDE, SIDE)),
            STEPS,
            self.contexts[prompt],
            schedule=SCHEDULE,
            renoise=self.draw,
        )


SINKS: list[dict[str, Any]] = [
    {},
    {"sink_frames": 0},
    {"sink": "ema", "alpha": 0.8},
    {"per_step": True},
]
SINK_IDS = ["static", "none", "ema", "per-step"]
LOG = [0, 0, 1, 1, 0, 1, 0, 0, 1]


@pytest.mark.parametrize("config", SINKS, ids=SINK_IDS)
def test_same_seed_and_log_is_bit_equal(make_student: StudentMaker, config: dict[str, Any]) -> None:
    student = make_student(rope="slot")
    one, two, other = (Stream(student, seed, **config) for seed in (1, 1, 2))
    for prompt in LOG:
        made = one.chunk(prompt)
        assert torch.equal(made, two.chunk(prompt))
        assert not torch.equal(made, other.chunk(prompt))


@pytest.mark.parametrize("config", SINKS, ids=SINK_IDS)
def test_interleaved_sessions_are_each_alone(
    make_student: StudentMaker, config: dict[str, Any]
) -> None:
    student = make_student(rope="slot")
    alone = {seed: Stream(student, seed, **config) for seed in (1, 2)}
    wanted = {seed: [stream.chunk(p) for p in LOG] for seed, stream in alone.items()}
    mixed = {seed: Stream(student, seed, **config) for seed in (1, 2)}
    made: dict[int, list[Tensor]] = {1: [], 2: []}
    for index, prompt in enumerate(LOG):
        for seed in (1, 2) if index % 2 else (2, 1):
            made[seed].append(mixed[seed].chunk(prompt))
    for seed in (1, 2):
        assert all(torch.equal(*pair) for pair in zip(made[seed], wanted[seed], strict=True))


@pytest.mark.parametrize("config", SINKS, ids=SINK_IDS)
def test_a_restored_stream_never_stopped(
    make_student: StudentMaker, config: dict[str, Any]
) -> None:
    student = make_student(rope="slot")
    stream = Stream(student, 3, **config)
    for prompt in LOG[:5]:
        stream.chunk(prompt)
    later = Stream(student, 99, **config)
    for saved, cache in zip(stream.caches, later.caches, strict=True):
        tensors = {name: tensor.clone() for name, tensor in saved.tensors().items()}
        cache.load(tensors, saved.metadata())
    later.noise.set_state(stream.noise.get_state())
    for prompt in LOG[5:]:
        assert torch.equal(stream.chunk(prompt), later.chunk(prompt))


@pytest.mark.parametrize("family", ["slot", "absolute"])
def test_cache_equals_recomputing_it(make_student: StudentMaker, family: RopeFamily) -> None:
    """After k chunks the keys of the last window are those of a fresh pass over the clean latents.

    One layer, so that keys depend on their own frame only.
    """
    student = make_student(rope=family, num_layers=1)
    config = CacheConfig(window_frames=3, sink_frames=1)
    stream = Stream(student, 4)
    clean = torch.cat([stream.chunk() for _ in range(8)], dim=1)
    fresh = new_cache(student, config)
    for frame in range(8):
        student(clean[:, frame : frame + 1], torch.zeros(1, 1), stream.contexts[0], fresh)
        fresh.advance(1)
    for name, tensor in stream.caches[0].tensors().items():
        torch.testing.assert_close(tensor, fresh.tensors()[name], atol=ATOL, rtol=1e-5)


@pytest.mark.parametrize("family", ["slot", "absolute"])
def test_nan_in_dead_slots_reaches_nothing(make_student: StudentMaker, family: RopeFamily) -> None:
    student = make_student(rope=family)
    clean, poisoned = Stream(student, 5), Stream(student, 5)
    for _ in range(6):
        poisoned.caches[0].poison()
        assert torch.equal(clean.chunk(), poisoned.chunk())


@pytest.mark.slow
def test_slot_stream_is_the_same_at_chunk_a_million(make_student: StudentMaker) -> None:
    student = make_student(rope="slot")
    early, late = Stream(student, 6), Stream(student, 6)
    for _ in range(8):
        early.chunk()
        late.chunk()
    cache = late.caches[0]
    # As many whole turns of the ring later.
    far = cache.position + 3 * 10**6
    cache.load(cache.tensors(), {"position": far, "end": far})
    for _ in range(5):
        assert torch.equal(early.chunk(), late.chunk())


@pytest.mark.slow
def test_absolute_stream_is_the_same_at_chunk_a_million(make_student: StudentMaker) -> None:
    """Without a sink only distances count; both start on a window of zero keys."""
    student = make_student(rope="absolute")
    made: list[Tensor] = []
    for start in (3, 3 + 3 * 10**6):
        stream = Stream(student, 7, sink_frames=0)
        cache = stream.caches[0]
        cache.load(cache.tensors(), {"position": start, "end": start})
        made.append(torch.cat([stream.chunk() for _ in range(7)], dim=1))
    torch.testing.assert_close(*made, atol=ATOL, rtol=1e-5)
