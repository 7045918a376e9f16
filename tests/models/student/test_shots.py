"""A new shot: its RoPE runs ahead of what is cached, and its first frames stay (LongLive 2)."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from rollcast.kernels.dense_attention.reference import attention_ref
from rollcast.models.student.causal_student import CausalStudent
from rollcast.models.student.config import CacheConfig, RopeFamily
from rollcast.models.student.kv_cache import KVCache
from rollcast.models.student.rope import RopeTable, rotate
from rollcast.models.student.student_cache import StudentCache

StudentMaker = Callable[..., CausalStudent]
HEADS, DIM, ROWS, COLUMNS = 2, 12, 1, 2
TOKENS = ROWS * COLUMNS
ROPE = RopeTable(DIM, ROWS, COLUMNS)
CONFIG = CacheConfig(window_frames=6, sink_frames=2, pinned_frames=2)
CUTS = {4, 7}
OFFSET = 2.5
# What each chunk of two frames sees, by hand.
SEEN = (
    (0, 1), (0, 1, 2, 3), (0, 1, 2, 3, 4, 5), (0, 1, 2, 3, 4, 5, 6, 7),
    (0, 1, 4, 5, 6, 7, 8, 9), (0, 1, 6, 7, 8, 9, 10, 11), (0, 1, 8, 9, 10, 11, 12, 13),
    (0, 1, 8, 9, 12, 13, 14, 15), (0, 1, 12, 13, 14, 15, 16, 17), (0, 1, 14, 15, 16, 17, 18, 19),
    (0, 1, 14, 15, 18, 19, 20, 21),
)  # fmt: skip


@pytest.mark.parametrize("family", ["absolute", "slot"])
def test_against_frames_by_hand(family: RopeFamily) -> None:
    torch.manual_seed(0)
    layers = [KVCache(CONFIG, 1, HEADS, TOKENS, DIM, dtype=torch.float64)]
    cache = StudentCache(CONFIG, layers, ROPE, family)
    frames: list[tuple[float, Tensor, Tensor]] = []
    offset = 0.0
    for chunk, seen in enumerate(SEEN):
        if chunk in CUTS:
            cache.begin_shot(OFFSET)
            offset += OFFSET
        query, key, value = torch.randn(3, 1, HEADS, 2 * TOKENS, DIM).double().unbind(0)
        for place, parts in enumerate(
            zip(key.split(TOKENS, 2), value.split(TOKENS, 2), strict=True)
        ):
            frames.append((2 * chunk + place + offset, *parts))
        call = cache.begin(2)
        keys, values = cache.layers[0].update(call, key, value)
        assert call.query is not None
        made = attention_ref(rotate(query, call.query), keys, values)
        # Without an offset, and as a place in the cache, where raw keys are kept.
        at = [frames[f][0] if family == "absolute" else p for p, f in enumerate(seen)]
        turned = [rotate(frames[f][1], ROPE.rotations([p])) for p, f in zip(at, seen, strict=True)]
        rotated = rotate(query, ROPE.rotations(at[-2:]))
        wanted = attention_ref(
            rotated, torch.cat(turned, 2), torch.cat([frames[f][2] for f in seen], 2)
        )
        torch.testing.assert_close(made, wanted, atol=2e-6, rtol=1e-5)
        cache.advance(2)


@pytest.mark.parametrize("cut", [3, 4, 5, 6, 7, 8])
def test_a_snapshot_at_any_chunk_goes_on_alike(make_student: StudentMaker, cut: int) -> None:
    """Also between the cut and the end of the chunk that it opens."""
    student = make_student()
    context = student.encode_text(torch.ones(1, 5, 10))
    times = torch.full((1, 1), 500.0)
    cache = student.new_cache(CONFIG, height=4, width=4)
    torch.manual_seed(3)
    chunks = torch.randn(12, 1, 2, 4, 4, 4).unbind(0)
    for index, chunk in enumerate(chunks):
        if index in CUTS:
            cache.begin_shot(OFFSET)
        if index == cut:
            saved = {name: tensor.clone() for name, tensor in cache.tensors().items()}
            plain = json.loads(json.dumps(cache.metadata()))
            cache = student.new_cache(CONFIG, height=4, width=4)
            cache.load(saved, plain)
        made = student(chunk, times, context, cache)
        cache.advance(2)
    other = student.new_cache(CONFIG, height=4, width=4)
    for index, chunk in enumerate(chunks):
        if index in CUTS:
            other.begin_shot(OFFSET)
        wanted = student(chunk, times, context, other)
        other.advance(2)
    assert torch.equal(made, wanted)
    assert cache.metadata() == other.metadata()


def test_a_reset_stream_knows_no_shots(make_student: StudentMaker) -> None:
    student = make_student()
    context = student.encode_text(torch.ones(1, 5, 10))
    used, fresh = (student.new_cache(CONFIG, height=4, width=4) for _ in range(2))
    for _ in range(5):
        used.begin_shot(OFFSET)
        student(torch.randn(1, 2, 4, 4, 4), torch.zeros(1, 1), context, used)
        used.advance(2)
    used.begin_shot(OFFSET)
    used.reset()
    assert used.metadata() == fresh.metadata()
    x = torch.randn(1, 2, 4, 4, 4)
    made, wanted = (student(x, torch.zeros(1, 1), context, cache) for cache in (used, fresh))
    assert torch.equal(made, wanted)


def test_pins_need_a_window_they_fit() -> None:
    for wrong in (
        {"pinned_frames": 7},
        {"pinned_frames": -1},
        {"bounded_sink": True},
        {"sink": "ema"},
        {"rolling": False},
    ):
        fields = {"window_frames": 6, "sink_frames": 2, "pinned_frames": 2} | wrong
        with pytest.raises(ValueError, match="pinned"):
            CacheConfig(**fields)  # pyright: ignore[reportArgumentType]
