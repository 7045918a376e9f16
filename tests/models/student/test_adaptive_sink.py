"""The adaptive sink against plain lists in numpy, float64, and what must hold of it endlessly."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor

from rollcast.kernels.dense_attention.reference import attention_ref
from rollcast.models.student.adaptive_sink import AdaptiveKVCache
from rollcast.models.student.config import CacheConfig
from rollcast.models.student.rope import RopeTable, rotate
from rollcast.models.student.student_cache import StudentCache

from ...variants import examples

HEADS, DIM, ROWS, COLUMNS = 2, 12, 1, 2
TOKENS = ROWS * COLUMNS
PUBLISHED = CacheConfig(window_frames=3, sink_frames=3, refresh_below=0.2, rewind_at=50)
FIRST_TWO = [2] + [1] * 12


def turned(key: np.ndarray, place: int) -> np.ndarray:
    """Keys [H, T, D] of a frame at RoPE place `place`, as Wan 2.1 turns them."""
    spatial = 2 * (DIM // 6)
    sizes = (DIM - 2 * spatial, spatial, spatial)
    angles = np.empty((TOKENS, DIM // 2))
    for token in range(TOKENS):
        at = (place, token // COLUMNS, token % COLUMNS)
        angles[token] = np.concatenate(
            [p * 10_000.0 ** (-np.arange(0, n, 2) / n) for p, n in zip(at, sizes, strict=True)]
        )
    pairs = key[..., 0::2] + 1j * key[..., 1::2]
    pairs = pairs * np.exp(1j * angles)
    return np.stack((pairs.real, pairs.imag), axis=-1).reshape(key.shape)


def alike(one: np.ndarray, two: np.ndarray) -> float:
    """Cosine of two frames' means over their tokens."""
    a, b = one.mean(1).ravel(), two.mean(1).ravel()
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


@dataclass
class QueueCache:
    """As published: slots, and one queue of those to be overwritten next.

    Slots of the window join the queue while the cache fills and go to its end whenever they were
    used; a slot of the sink comes to its front, and goes when it was used.
    """

    config: CacheConfig
    raw: list[tuple[int, np.ndarray, np.ndarray]] = field(default_factory=list)
    queue: list[int] = field(default_factory=list)
    place: int = 0

    def __post_init__(self) -> None:
        self.queue = list(range(self.config.sink_frames, self.config.capacity_frames))

    def add(self, frames: list[tuple[np.ndarray, np.ndarray]]) -> None:
        self._rewind()
        if len(frames) == 1:
            self._compare(*frames[0])
        for key, value in frames:
            new = self.place, key, value
            if len(self.raw) < self.config.capacity_frames:
                self.raw.append(new)
            else:
                slot = self.queue.pop(0)
                self.queue += [slot] if slot >= self.config.sink_frames else []
                self.raw[slot] = new
            self.place += 1

    def _rewind(self) -> None:
        if self.config.rewind_at is None or self.place < self.config.rewind_at:
            return
        by = self.place - (self.config.capacity_frames - 1)
        self.place -= by
        for slot, (place, key, value) in enumerate(self.raw):
            if not 0 <= place < self.config.sink_frames:
                self.raw[slot] = place - by, key, value

    def _compare(self, key: np.ndarray, value: np.ndarray) -> None:
        sink = self.raw[: self.config.sink_frames]
        key = turned(key, self.place)
        both = [(alike(turned(k, p), key) + alike(v, value)) / 2 for p, k, v in sink]
        both += [0.0] * (self.config.sink_frames - len(sink))
        least = min(both)
        if self.config.refresh_below is not None and least < self.config.refresh_below:
            self.queue.insert(0, both.index(least))

    def keys_values(self) -> tuple[Tensor, Tensor]:
        keys = np.concatenate([turned(key, place) for place, key, _ in self.raw], axis=1)
        values = np.concatenate([value for *_, value in self.raw], axis=1)
        return torch.tensor(keys)[None], torch.tensor(values)[None]


def new_cache(config: CacheConfig, dtype: torch.dtype = torch.float64) -> StudentCache:
    layers = [AdaptiveKVCache(config, 1, HEADS, TOKENS, DIM, dtype=dtype)]
    return StudentCache(config, layers, RopeTable(DIM, ROWS, COLUMNS), "absolute")


def attend(cache: StudentCache, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    call = cache.begin(query.shape[2] // TOKENS)
    keys, values = cache.layers[0].update(call, key, value)
    assert call.query is not None
    return attention_ref(rotate(query, call.query), keys, values)


def scenes(frames: int, *, like: float, seed: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Queries, keys and values [1, H, T, D] of frames that are `like` one of three scenes."""
    draw = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw, dtype=torch.float64)

    bases, now = noise(3, 2, 1, HEADS, 1, DIM), 0
    made: list[tuple[Tensor, Tensor, Tensor]] = []
    for _ in range(frames):
        if torch.rand((), generator=draw) < 0.2:
            now = int(torch.randint(3, (), generator=draw))
        key, value = (like * base + noise(1, HEADS, TOKENS, DIM) for base in bases[now])
        made.append((noise(1, HEADS, TOKENS, DIM), key, value))
    return made


def joined(frames: list[tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    query, key, value = (torch.cat(parts, dim=2) for parts in zip(*frames, strict=True))
    return query, key, value


@st.composite
def configs(draw: st.DrawFn) -> CacheConfig:
    sinks, window = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    return CacheConfig(
        window_frames=window,
        sink_frames=sinks,
        refresh_below=draw(st.sampled_from((-1.0, 0.0, 0.2, 0.6, 1.0))),
        rewind_at=draw(st.sampled_from((None, sinks + window, sinks + window + 3))),
    )


@pytest.mark.slow
@examples(
    50,
    150,
    config=configs(),
    first=st.integers(1, 3),
    more=st.integers(1, 16),
    calls=st.integers(1, 2),
    like=st.sampled_from((0.0, 0.5, 2.0)),
    seed=st.integers(0, 2**16),
)
def test_equals_a_queue_of_slots(
    config: CacheConfig, first: int, more: int, calls: int, like: float, seed: int
) -> None:
    cache, plain = new_cache(config), QueueCache(config)
    cache.poison()
    frames = scenes(more + 3, like=like, seed=seed)
    lengths = [min(first, config.capacity_frames)] + [1] * more
    for length in lengths:
        chunk, frames = frames[:length], frames[length:]
        query, key, value = joined(chunk)
        for _ in range(calls - 1):
            # an earlier call on the chunk decides about slots, a later one overwrites
            attend(cache, query, key, value)
        made = attend(cache, query, key, value)
        cache.advance(length)
        plain.add([(k[0].numpy(), v[0].numpy()) for _, k, v in chunk])
        places = range(plain.place - length, plain.place)
        turned_query = rotate(query, RopeTable(DIM, ROWS, COLUMNS).rotations(places))
        # Rotations are rounded to float32, those of keys that are moved on once more each time.
        wanted = attention_ref(turned_query, *plain.keys_values())
        torch.testing.assert_close(made, wanted, atol=4e-6, rtol=1e-5)


def slots_written(config: CacheConfig, lengths: list[int], frames: list[Any]) -> list[int]:
    cache, slots = new_cache(config), list[int]()
    for length in lengths:
        chunk, frames = frames[:length], frames[length:]
        attend(cache, *joined(chunk))
        cache.advance(length)
        slots.append(int(cache.layers[0].tensors()["slot"]))
    return slots


def test_a_steady_scene_takes_the_third_place_of_the_sink_once() -> None:
    """An empty place counts as unlike, as published: the sink is then frames 0, 1 and 6."""
    steady = [(q, 9 + k, 9 + v) for q, k, v in scenes(14, like=0.0, seed=1)]
    assert slots_written(PUBLISHED, FIRST_TWO, steady) == [1, 2, 3, 4, 5, 2, 3, 4, 5, 3, 4, 5, 3]


def test_another_scene_takes_the_sink_frame_by_frame() -> None:
    steady = [(q, 9 + k, 9 + v) for q, k, v in scenes(9, like=0.0, seed=1)]
    other = [(q, k - 9, v - 9) for q, k, v in scenes(5, like=0.0, seed=2)]
    slots = slots_written(PUBLISHED, FIRST_TWO, steady + other)
    assert slots[:8] == [1, 2, 3, 4, 5, 2, 3, 4]
    assert sorted(slots[8:11]) == [0, 1, 2]
    # then the sink is of that scene, and the window goes on where it stopped
    assert slots[11:] == [5, 3]


def test_places_stay_bounded_and_the_past_keeps_its_distance() -> None:
    config = CacheConfig(window_frames=3, sink_frames=3, refresh_below=-1.0, rewind_at=9)
    cache = new_cache(config)
    for parts in scenes(200, like=2.0, seed=3):
        attend(cache, *parts)
        cache.advance(1)
        places = cache.layers[0].tensors()["places"]
        assert int(places.min()) >= 0 and int(places.max()) < 9
        if cache.position > 6:
            window = sorted(places[3:].tolist())
            assert [place - window[0] for place in window] == [0, 1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("frames", [2_000, pytest.param(10_000, marks=pytest.mark.long)])
def test_nothing_grows_in_a_long_stream(frames: int) -> None:
    cache = new_cache(PUBLISHED, torch.float32)
    parts = [tuple(x.float() for x in each) for each in scenes(50, like=0.5, seed=4)]
    addresses = {name: tensor.data_ptr() for name, tensor in cache.tensors().items()}
    for frame in range(frames):
        made = attend(cache, *parts[frame % 50])
        cache.advance(1)
    assert addresses == {name: tensor.data_ptr() for name, tensor in cache.tensors().items()}
    assert torch.isfinite(made).all()
    assert abs(float(cache.metadata()["rope_offset"])) > frames - 100


@pytest.mark.slow
@examples(8, 30, before=st.integers(1, 70), seed=st.integers(0, 2**16))
def test_a_restored_stream_never_stopped(before: int, seed: int) -> None:
    frames = [tuple(x.float() for x in each) for each in scenes(before + 60, like=0.5, seed=seed)]
    cache, later = new_cache(PUBLISHED, torch.float32), new_cache(PUBLISHED, torch.float32)
    for parts in frames[:before]:
        attend(cache, *parts)
        cache.advance(1)
    saved = {name: tensor.clone() for name, tensor in cache.tensors().items()}
    later.load(saved, cache.metadata())
    for parts in frames[before:]:
        assert torch.equal(attend(cache, *parts), attend(later, *parts))
        cache.advance(1)
        later.advance(1)


def test_reset_is_a_new_cache() -> None:
    frames = scenes(80, like=0.5, seed=5)
    used, fresh = new_cache(PUBLISHED), new_cache(PUBLISHED)
    for parts in frames:
        attend(used, *parts)
        used.advance(1)
    used.reset()
    for parts in frames:
        assert torch.equal(attend(used, *parts), attend(fresh, *parts))
        used.advance(1)
        fresh.advance(1)


def test_frames_come_in_order_and_one_by_one() -> None:
    cache = new_cache(PUBLISHED)
    attend(cache, *joined(scenes(5, like=0.0, seed=6)))
    cache.advance(5)
    with pytest.raises(ValueError, match="one at a time behind the first 6"):
        cache.begin(2)
    with pytest.raises(ValueError, match="in their order"):
        cache.begin(1, start=3)


def test_what_an_adaptive_sink_goes_with() -> None:
    with pytest.raises(ValueError, match="rewind_at 50"):
        CacheConfig(window_frames=3, sink_frames=3, rewind_at=50)
    with pytest.raises(ValueError, match="as many places"):
        CacheConfig(window_frames=3, sink_frames=3, refresh_below=0.2, rewind_at=5)
    with pytest.raises(ValueError, match=r"outside -1\.\.1"):
        CacheConfig(window_frames=3, sink_frames=3, refresh_below=2.0)
    with pytest.raises(ValueError, match="no other rule"):
        CacheConfig(window_frames=3, sink_frames=3, refresh_below=0.2, bounded_sink=True)
    with pytest.raises(ValueError, match="that of one stream"):
        AdaptiveKVCache(PUBLISHED, 2, HEADS, TOKENS, DIM)
    layers = [AdaptiveKVCache(PUBLISHED, 1, HEADS, TOKENS, DIM)]
    with pytest.raises(ValueError, match="absolute RoPE"):
        StudentCache(PUBLISHED, layers, RopeTable(DIM, ROWS, COLUMNS), "slot")
