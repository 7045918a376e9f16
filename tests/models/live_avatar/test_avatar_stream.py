"""What must hold of an avatar's stream: sinks that change under way, any length, memory, state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from rollcast.models.live_avatar.inputs import encode_sink, speech_tokens
from rollcast.models.sampling.batches import CallRow, call_rows
from rollcast.models.sampling.denoising import sample_chunk
from rollcast.models.sampling.euler import Euler, EulerSchedule
from rollcast.models.state import SavedState, StreamState
from rollcast.models.student.causal_student import CausalStudent
from rollcast.models.student.conditioning import Conditions, stack_contexts
from rollcast.models.student.config import AvatarConfig, CacheConfig, StudentConfig
from rollcast.models.student.speech_projector import HISTORY_FRAMES
from rollcast.models.student.student_cache import StudentCache
from rollcast.models.student.token_sink import SinkTokens, drawn_distance

StudentMaker = Callable[..., CausalStudent]
AVATAR = AvatarConfig(
    pose_channels=4, audio_layers=3, audio_dim=6, audio_tokens=2, inject_layers=(0,)
)
SCHEDULE = EulerSchedule.shifted_twice(3)
SAMPLER = Euler(SCHEDULE)
STEPS = range(3)
SIDE, CHUNK, CHUNKS, SWAP = 8, 2, 7, 4


class Inputs:
    """A whole stream's inputs, so that orders of computing it can be compared."""

    def __init__(self, student: CausalStudent) -> None:
        torch.manual_seed(3)
        self.student = student
        self.noise = torch.randn(CHUNKS, 1, CHUNK, 4, SIDE, SIDE)
        features = torch.randn(CHUNKS, 1, 3, 6, 4 * CHUNK)
        self.conditions = [Conditions(speech=speech_tokens(student, part)) for part in features]
        self.context = student.encode_text(torch.randn(1, 3, 10))
        references = torch.randn(2, 1, 1, 4, SIDE, SIDE)
        motion = torch.randn(1, 19, 4, SIDE, SIDE)
        first, second = (encode_sink(student, r, motion, self.context) for r in references)
        self.sinks: dict[int, SinkTokens] = {0: first, SWAP: second}

    def caches(self, **settings: Any) -> list[StudentCache]:
        base: dict[str, Any] = {"window_frames": 4, "rolling_distance": 5}
        config = CacheConfig(**(base | settings))
        return [self.student.new_cache(config, height=SIDE, width=SIDE) for _ in STEPS]

    def step(self, caches: list[StudentCache], latents: Tensor, step: int, chunk: int) -> Tensor:
        (made,) = call_rows(self.student, [self.row(caches[step], latents, step, chunk)])
        return made

    def row(self, cache: StudentCache, latents: Tensor, step: int, chunk: int) -> CallRow:
        if chunk in self.sinks:
            cache.set_sink(self.sinks[chunk])
        return CallRow(latents, self.context, self.conditions[chunk], cache, SAMPLER, step)

    def chunk(self, caches: list[StudentCache], chunk: int) -> Tensor:
        if chunk in self.sinks:
            for cache in caches:
                cache.set_sink(self.sinks[chunk])
        conditions = self.conditions[chunk]
        return sample_chunk(
            self.student, caches, self.noise[chunk], SAMPLER, self.context, conditions
        )


@pytest.fixture
def inputs(make_student: StudentMaker) -> Inputs:
    student = make_student(avatar=AVATAR)
    assert student.casual_audio_encoder is not None
    student.casual_audio_encoder.weights.uniform_(0.5, 1.0)
    return Inputs(student)


def test_a_new_sink_needs_no_drain(inputs: Inputs) -> None:
    """Steps of three chunks run at once; each cache changes when the chunk of the swap comes."""
    caches = inputs.caches()
    wanted = [inputs.chunk(caches, chunk) for chunk in range(CHUNKS)]
    caches, latents = inputs.caches(), list(inputs.noise)
    for turn in range(CHUNKS + len(STEPS) - 1):
        for step in reversed(STEPS):
            chunk = turn - step
            if 0 <= chunk < CHUNKS:
                latents[chunk] = inputs.step(caches, latents[chunk], step, chunk)
    assert all(torch.equal(*pair) for pair in zip(latents, wanted, strict=True))


def test_the_new_sink_counts_from_its_chunk_on(inputs: Inputs) -> None:
    caches = inputs.caches()
    swapped = [inputs.chunk(caches, chunk) for chunk in range(CHUNKS)]
    del inputs.sinks[SWAP]
    caches = inputs.caches()
    kept = [inputs.chunk(caches, chunk) for chunk in range(CHUNKS)]
    same = [torch.equal(*pair) for pair in zip(swapped, kept, strict=True)]
    assert same == [True] * SWAP + [False] * (CHUNKS - SWAP)


def test_noise_levels_in_one_batch(inputs: Inputs) -> None:
    """The rows of a diagonal batch: each with its own cache, time, speech and sink."""
    alone, together = inputs.caches(), inputs.caches()
    for caches in (alone, together):
        for chunk in range(SWAP - 1):
            inputs.chunk(caches, chunk)
    # one row is before the change of sink, one at it, one behind it
    chunks = (SWAP - 1, SWAP, SWAP - 2)
    wanted = [
        inputs.step(alone, inputs.noise[chunk], step, chunk) for step, chunk in enumerate(chunks)
    ]
    rows = [
        inputs.row(together[step], inputs.noise[chunk], step, chunk)
        for step, chunk in enumerate(chunks)
    ]
    made = call_rows(inputs.student, rows)
    torch.testing.assert_close(torch.cat(made), torch.cat(wanted), atol=2e-5, rtol=1e-5)
    assert stack_contexts([inputs.context] * 2) is inputs.context


@pytest.mark.parametrize("bounded", [True, False])
def test_chunk_a_million(inputs: Inputs, bounded: bool) -> None:
    """With motion that moves along it is the same as early on; as published, it is as exact."""
    del inputs.sinks[SWAP]
    made: list[list[Tensor]] = []
    for start in (40, 40 + CHUNK * 10**6):
        caches = inputs.caches(bounded_sink=bounded)
        for cache in caches:
            cache.load(cache.tensors(), {"position": start, "end": start})
        made.append([inputs.chunk(caches, chunk) for chunk in range(CHUNKS)])
    for early, late in zip(*made, strict=True):
        assert torch.isfinite(late).all()
        if bounded:
            torch.testing.assert_close(early, late, atol=5e-5, rtol=1e-4)
    far = inputs.caches(bounded_sink=bounded)[0]
    far.load(far.tensors(), {"position": 2 * 10**6, "end": 2 * 10**6, "sink": True})
    call = far.begin(CHUNK)
    assert call.sink is not None
    # The reference stands 5 frames ahead: its first token and the chunk's differ by that alone.
    frames = inputs.student.config.head_dim - 4 * (inputs.student.config.head_dim // 6)
    ladder = 10_000.0 ** -(torch.arange(0, frames, 2, dtype=torch.float64) / frames)
    assert call.query is not None
    turned = call.sink[0] * call.query[0].conj()
    wanted = torch.polar(torch.ones_like(ladder), 5 * ladder).to(turned.dtype)
    torch.testing.assert_close(turned[: len(ladder)], wanted, atol=1e-6, rtol=0)


def test_memory_is_fixed(inputs: Inputs) -> None:
    caches = inputs.caches()
    before = [(t.data_ptr(), t.shape) for cache in caches for t in cache.tensors().values()]
    for chunk in range(CHUNKS):
        for cache in caches:
            cache.poison()
        assert torch.isfinite(inputs.chunk(caches, chunk)).all()
    after = [(t.data_ptr(), t.shape) for cache in caches for t in cache.tensors().values()]
    assert after == before


class NoCarry:
    def tensors(self) -> dict[str, Tensor]:
        return {}

    def metadata(self) -> dict[str, Any]:
        return {}


@pytest.mark.parametrize("stop", [2, SWAP + 1])
def test_a_restored_stream_never_stopped(inputs: Inputs, stop: int) -> None:
    caches = inputs.caches()
    for chunk in range(stop):
        inputs.chunk(caches, chunk)
    state = StreamState(caches, NoCarry(), torch.Generator(), 0, "face", "")
    saved = SavedState.parse(state.to_bytes("avatar"), "avatar")
    later = inputs.caches()
    for step, cache in enumerate(later):
        cache.load(saved.part(f"cache.{step}"), saved.plain["caches"][step])
    for chunk in range(stop, CHUNKS):
        assert torch.equal(inputs.chunk(caches, chunk), inputs.chunk(later, chunk))


def test_reset_forgets_the_sink(inputs: Inputs) -> None:
    caches = inputs.caches()
    first = inputs.chunk(caches, 0)
    for cache in caches:
        cache.reset()
        with pytest.raises(ValueError, match="no sink yet"):
            cache.begin(CHUNK)
    assert torch.equal(inputs.chunk(caches, 0), first)


def test_speech_in_chunks_is_the_whole_file(inputs: Inputs) -> None:
    projector = inputs.student.casual_audio_encoder
    assert projector is not None
    features = torch.randn(1, 3, 6, 40)
    history = features[..., :HISTORY_FRAMES]
    whole = projector(features[..., HISTORY_FRAMES : HISTORY_FRAMES + 32], history)
    for start in range(0, 32, 8):
        at = HISTORY_FRAMES + start
        part = projector(features[..., at : at + 8], features[..., start:at])
        torch.testing.assert_close(part, whole[:, start // 4 : start // 4 + 2])
    # Without history, a chunk begins as if its first features had always been there.
    first = features[..., :1].expand(-1, -1, -1, HISTORY_FRAMES)
    chunk = features[..., :8]
    assert torch.equal(projector(chunk), projector(chunk, first))
    with pytest.raises(ValueError, match="multiple of 4"):
        projector(features[..., :6])


def test_the_published_schedule() -> None:
    schedule = EulerSchedule.shifted_twice()
    published = (1000.0, 857.6923217773438, 602.1505737304688, 8.928571701049805)
    assert schedule.timesteps == pytest.approx(published, abs=1e-4)
    assert schedule.sigmas == pytest.approx([t / 1000 for t in published] + [0.0], abs=1e-7)
    with pytest.raises(ValueError, match="expected at least one"):
        EulerSchedule((1000.0,), (1.0,))


def test_a_stream_draws_its_distance_once() -> None:
    drawn = {drawn_distance(seed) for seed in range(300)}
    assert drawn == set(range(4, 31))
    assert drawn_distance(7) == drawn_distance(7)


def test_an_untrained_avatar_hears_nothing() -> None:
    torch.manual_seed(0)
    config = StudentConfig(
        dim=48, ffn_dim=64, num_heads=2, num_layers=2, in_channels=4, out_channels=4,
        text_dim=10, text_len=5, freq_dim=16, avatar=AVATAR,
    )  # fmt: skip
    student = CausalStudent(config).requires_grad_(False)
    torch.nn.init.normal_(student.head.head.weight)
    inputs = Inputs(student)
    one = inputs.chunk(inputs.caches(), 0)
    tokens = AVATAR.audio_tokens + 2
    inputs.conditions[0] = Conditions(speech=torch.randn(1, CHUNK, tokens, config.dim))
    assert torch.equal(inputs.chunk(inputs.caches(), 0), one)
    assert StudentConfig.from_dict(config.to_dict()) == config


def test_a_pose_counts(inputs: Inputs) -> None:
    first = inputs.chunk(inputs.caches(), 0)
    speech = inputs.conditions[0].speech
    pose = torch.zeros(1, CHUNK, 4, SIDE, SIDE)
    inputs.conditions[0] = Conditions(speech=speech, pose=pose)
    torch.testing.assert_close(inputs.chunk(inputs.caches(), 0), first)
    inputs.conditions[0] = Conditions(speech=speech, pose=pose + 1)
    assert not torch.allclose(inputs.chunk(inputs.caches(), 0), first, atol=1e-3)


def test_misfits_are_told(inputs: Inputs, make_student: StudentMaker) -> None:
    plain, student = make_student(), inputs.student
    latents = torch.randn(1, 1, 4, SIDE, SIDE)
    with pytest.raises(ValueError, match="rolling_distance 5"):
        plain.new_cache(CacheConfig(4, rolling_distance=5), height=SIDE, width=SIDE)
    with pytest.raises(ValueError, match="rolling_distance None"):
        student.new_cache(CacheConfig(4), height=SIDE, width=SIDE)
    with pytest.raises(ValueError, match="0 sink_frames"):
        CacheConfig(4, sink_frames=1, rolling_distance=5)
    with pytest.raises(ValueError, match="no avatar"):
        encode_sink(plain, latents, latents, inputs.context)
    with pytest.raises(ValueError, match="hears no speech"):
        speech_tokens(plain, torch.randn(1, 3, 6, 8))
    with pytest.raises(ValueError, match=r"needs Conditions\.speech"):
        student(latents, torch.zeros(1, 1), inputs.context, ready(inputs), Conditions())
    with pytest.raises(ValueError, match="no offline pass"):
        student.forward_sequence(
            latents, torch.zeros(1, 1), inputs.context, cache=CacheConfig(4), chunk_frames=1
        )
    cache = student.new_cache(CacheConfig(4, rolling_distance=5), height=SIDE, width=2 * SIDE)
    with pytest.raises(ValueError, match="has room for"):
        cache.set_sink(inputs.sinks[0])
    with pytest.raises(ValueError, match="2 caches for 3 steps"):
        sample_chunk(student, inputs.caches()[:2], inputs.noise[0], SAMPLER, inputs.context)
    with pytest.raises(ValueError, match="absolute RoPE"):
        make_student(avatar=AVATAR, rope="slot")
    with pytest.raises(ValueError, match="this student has 2"):
        make_student(avatar=AvatarConfig(inject_layers=(0, 2)))


def ready(inputs: Inputs) -> StudentCache:
    cache = inputs.caches()[0]
    cache.set_sink(inputs.sinks[0])
    return cache
