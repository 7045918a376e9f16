"""The student of streams computes what the one that is trained does."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from rollcast.models.pocket.config import CACHE, STUDENT
from rollcast.models.pocket.stream_student import StreamStudent
from rollcast.models.student.cache_pool import CachePool
from rollcast.models.student.causal_student import CausalStudent
from rollcast.models.student.conditioning import Conditions, stack_conditions
from rollcast.models.student.student_cache import StudentCache

SIZE = 8
# Sums in another order, over five layers and six chunks whose keys the later ones read.
TOLERANCE = {torch.float64: 1e-11, torch.float32: 2e-4}


def _students(dtype: torch.dtype) -> tuple[CausalStudent, StreamStudent]:
    """One with random weights, the other ready with the same."""
    torch.manual_seed(0)
    config = replace(STUDENT, num_layers=2)
    plain = CausalStudent(config).to(dtype).requires_grad_(False)
    for parameter in plain.parameters():
        # parts that start at zero would hide what enters them
        parameter.add_(0.05 * torch.randn_like(parameter))
    ready = StreamStudent(config).to(dtype).requires_grad_(False)
    ready.load_state_dict(plain.state_dict())
    ready.make_ready()
    return plain, ready


def _told(student: CausalStudent, dtype: torch.dtype, seed: int, *, moved: bool) -> Conditions:
    generator = torch.Generator().manual_seed(seed)
    config = student.config

    def drawn(*shape: int) -> Tensor:
        return torch.randn(1, *shape, generator=generator, dtype=torch.float64).to(dtype)

    tracks = drawn(config.track_stride, config.track_channels, SIZE, SIZE)
    return Conditions(
        frames=drawn(1, config.frame_dim),
        audio=drawn(1, config.audio_tokens, config.audio_dim),
        tracks=tracks if moved else torch.zeros_like(tracks),
        channels=drawn(1, config.extra_channels, SIZE, SIZE),
        base=drawn(1, config.out_channels, SIZE, SIZE),
    )


def _stream(student: CausalStudent, dtype: torch.dtype, rows: int, chunks: int) -> list[Tensor]:
    """What `rows` streams at once make; every second one has things that move."""
    pool = CachePool()

    def cache() -> StudentCache:
        return pool.seat(student.new_cache(CACHE, height=SIZE, width=SIZE))

    caches = [cache() for _ in range(rows)]
    texts = torch.randn(rows, 3, student.config.text_dim, dtype=torch.float64).to(dtype)
    contexts = [student.encode_text(text[None]) for text in texts]
    made: list[Tensor] = []
    for chunk in range(chunks):
        told = [_told(student, dtype, 100 * chunk + k, moved=k % 2 == 1) for k in range(rows)]
        noise = torch.randn(rows, 1, student.config.in_channels, SIZE, SIZE, dtype=torch.float64)
        times = torch.full((rows, 1), 1000.0 if chunk % 2 else 500.0)
        made.append(
            student.forward_rows(noise.to(dtype), times, contexts, caches, stack_conditions(told))
        )
        for each in caches:
            each.advance(1)
    return made


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("rows", [1, 3])
def test_streams_are_the_same(dtype: torch.dtype, rows: int) -> None:
    plain, ready = _students(dtype)
    results: list[list[Tensor]] = []
    for student in (plain, ready):
        torch.manual_seed(1)
        with torch.inference_mode():
            results.append(_stream(student, dtype, rows, chunks=8))
    for wanted, made in zip(*results, strict=True):
        torch.testing.assert_close(made, wanted, atol=TOLERANCE[dtype], rtol=TOLERANCE[dtype])


def test_what_a_look_shows_is_seen_anew_when_it_changes() -> None:
    _, ready = _students(torch.float32)
    with torch.inference_mode():
        context = ready.encode_text(torch.zeros(1, 1, ready.config.text_dim))
        told = _told(ready, torch.float32, 0, moved=False)
        noise = torch.zeros(1, 1, ready.config.in_channels, SIZE, SIZE)

        def call(conditions: Conditions) -> Tensor:
            cache = ready.new_cache(CACHE, height=SIZE, width=SIZE)
            return ready(noise, torch.zeros(1, 1), context, cache, conditions)

        first, again = call(told), call(told)
        assert told.channels is not None
        other = call(replace(told, channels=told.channels + 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_several_latent_frames_are_made_as_ever() -> None:
    plain, ready = _students(torch.float64)
    told = [_told(plain, torch.float64, k, moved=True) for k in range(2)]
    conditions = Conditions(
        *(torch.cat([getattr(t, name) for t in told], 1) for name in ("frames", "audio", "tracks")),
        channels=told[0].channels,
    )
    noise = torch.randn(1, 2, plain.config.in_channels, SIZE, SIZE, dtype=torch.float64)
    made: list[Tensor] = []
    for student in (plain, ready):
        context = student.encode_text(torch.zeros(1, 1, 64, dtype=torch.float64))
        cache = student.new_cache(CACHE, height=SIZE, width=SIZE)
        made.append(student(noise, torch.full((1, 2), 500.0), context, cache, conditions))
    # the draft is multiplied column by column
    torch.testing.assert_close(made[0], made[1], atol=1e-12, rtol=1e-12)
