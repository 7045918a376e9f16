"""The ring cache against a list of frames in float64, and its sinks, snapshots and dead slots."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor

from rollcast.kernels.dense_attention.reference import attention_ref
from rollcast.models.student.config import CacheConfig, RopeFamily, SinkPrecision
from rollcast.models.student.kv_cache import KVCache
from rollcast.models.student.rope import RopeTable, rotate
from rollcast.models.student.student_cache import StudentCache

from ...variants import examples

HEADS, DIM, ROWS, COLUMNS = 2, 12, 1, 2
TOKENS = ROWS * COLUMNS


@dataclass
class ListCache:
    """The published caches, naively: frames in a list, the oldest behind the sink is dropped."""

    config: CacheConfig
    family: RopeFamily
    rope: RopeTable = field(default_factory=lambda: RopeTable(DIM, ROWS, COLUMNS))
    frames: list[tuple[int, Tensor, Tensor]] = field(default_factory=list)
    end: int = 0

    def attend(self, start: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        new = [
            (start + index, *parts)
            for index, parts in enumerate(
                zip(key.split(TOKENS, 2), value.split(TOKENS, 2), strict=True)
            )
        ]
        again = start + len(new) <= self.end
        if again:
            self._overwrite(new, start)
        else:
            self.frames += new
            self._drop()
        self.end = start + len(new)
        keys = torch.cat([self._rotate(place, *f[:2]) for place, f in enumerate(self.frames)], 2)
        values = torch.cat([frame[2] for frame in self.frames], 2)
        if self.config.zero_start and self.end < self.config.sink_frames:
            empty = (self.config.sink_frames - self.end) * TOKENS
            keys, values = (torch.nn.functional.pad(x, (0, 0, 0, empty)) for x in (keys, values))
        first = len(self.frames) - len(new) if self.family == "slot" else start
        rotated = rotate(query, self.rope.rotations(range(first, first + len(new))))
        return attention_ref(rotated, keys, values)

    def _overwrite(self, new: list[tuple[int, Tensor, Tensor]], start: int) -> None:
        for index in range(1, min(len(new), len(self.frames)) + 1):
            place = len(self.frames) - index
            guarded = self.config.guard_sink and start > 0 and place < self.config.sink_frames
            if not guarded:
                self.frames[place] = new[-index]

    def _drop(self) -> None:
        sinks = self.config.sink_frames
        over = max(0, len(self.frames) - self.config.capacity_frames)
        gone = [self.frames.pop(sinks) for _ in range(over)]
        if self.config.sink != "ema":
            return
        whole = len(gone) == sinks
        for index, (number, key, value) in enumerate(gone):
            if self.config.ragged == "overwrite":
                place, alpha = index, self.config.alpha if whole else 0.0
            else:
                place, alpha = number % sinks, self.config.alpha
            if place >= sinks:
                continue
            own, sink_key, sink_value = self.frames[place]
            mixed_key = alpha * sink_key + (1 - alpha) * key
            self.frames[place] = (own, mixed_key, alpha * sink_value + (1 - alpha) * value)

    def _rotate(self, place: int, number: int, key: Tensor) -> Tensor:
        bounded = self.config.bounded_sink and place < self.config.sink_frames
        oldest = self.end - len(self.frames)
        at = place if self.family == "slot" else (oldest + place if bounded else number)
        return rotate(key, self.rope.rotations([at]))


def new_cache(config: CacheConfig, family: RopeFamily, dtype: torch.dtype) -> StudentCache:
    layers = [KVCache(config, 1, HEADS, TOKENS, DIM, dtype=dtype)]
    return StudentCache(config, layers, RopeTable(DIM, ROWS, COLUMNS), family)


def attend(cache: StudentCache, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    call = cache.begin(query.shape[2] // TOKENS)
    cache.arrange(call)
    keys, values = cache.layers[0].update(call, key, value)
    assert call.query is not None
    return attention_ref(rotate(query, call.query), keys, values)


def qkv(frames: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    query, key, value = torch.randn(3, 1, HEADS, frames * TOKENS, DIM, dtype=dtype).unbind(0)
    return query, key, value


@st.composite
def caches(draw: st.DrawFn) -> tuple[CacheConfig, RopeFamily]:
    family = draw(st.sampled_from(("slot", "absolute")))
    sinks = draw(st.integers(0, 3))
    ema = family == "slot" and sinks > 0 and draw(st.booleans())
    return (
        CacheConfig(
            window_frames=draw(st.integers(1, 5)),
            sink_frames=sinks,
            sink="ema" if ema else "static",
            alpha=draw(st.sampled_from((0.0, 0.3, 0.9))),
            precision=draw(st.sampled_from(("in_place", "shadow"))),
            ragged=draw(st.sampled_from(("fold", "overwrite"))),
            bounded_sink=family == "absolute" and draw(st.booleans()),
            guard_sink=draw(st.booleans()),
            zero_start=ema and draw(st.booleans()),
        ),
        family,
    )


@pytest.mark.slow
@examples(
    50,
    150,
    cache=caches(),
    lengths=st.lists(st.integers(1, 4), min_size=1, max_size=8),
    calls=st.integers(1, 3),
)
def test_equals_a_list_of_frames(
    cache: tuple[CacheConfig, RopeFamily], lengths: list[int], calls: int
) -> None:
    torch.manual_seed(0)
    config, family = cache
    ring, naive = new_cache(config, family, torch.float64), ListCache(config, family)
    if not config.zero_start:
        ring.poison()
    start = 0
    for length in (min(length, config.window_frames) for length in lengths):
        for _ in range(calls):
            query, key, value = qkv(length)
            made = attend(ring, query, key, value)
            wanted = naive.attend(start, query, key, value)
            # Rotations and the shadow sink are rounded to float32, all else is float64.
            torch.testing.assert_close(made, wanted, atol=2e-6, rtol=1e-5)
        ring.advance(length)
        start += length


@pytest.mark.parametrize("family", ["slot", "absolute"])
def test_the_millionth_chunk_is_like_the_first(family: RopeFamily) -> None:
    """Ten chunks into a full cache or a million: the same keys give the same attention."""
    config = CacheConfig(window_frames=4, sink_frames=1)
    outputs: list[Tensor] = []
    for chunks in (10, 10**6 + 2):
        torch.manual_seed(3)
        sink, ring = qkv(1), [qkv(1) for _ in range(5)]
        cache = new_cache(config, family, torch.float32)
        attend(cache, *sink)
        cache.advance(1)
        # What a stream of that length leaves behind: only the count differs.
        cache.load(cache.tensors(), {"position": chunks - 5, "end": chunks - 5})
        if family == "absolute":
            cache.layers[0].key[:, :, :TOKENS] = rotate(
                sink[1].float(), RopeTable(DIM, ROWS, COLUMNS).rotations([chunks - 12])
            )
        for index, parts in enumerate(ring):
            made = attend(cache, *(part.float() for part in parts))
            cache.advance(1)
            if index == 4:
                outputs.append(made)
    if family == "slot":
        assert torch.equal(*outputs)
    else:
        torch.testing.assert_close(*outputs, atol=1e-5, rtol=1e-5)


def test_bounded_sink_stays_near_and_the_published_one_does_not() -> None:
    outputs: dict[bool, list[Tensor]] = {False: [], True: []}
    for bounded, made in outputs.items():
        for chunks in (4, 400):
            torch.manual_seed(5)
            first, last = qkv(1), qkv(2)
            config = CacheConfig(window_frames=2, sink_frames=1, bounded_sink=bounded)
            cache = new_cache(config, "absolute", torch.float64)
            attend(cache, *first)
            cache.advance(1)
            cache.load(cache.tensors(), {"position": 1 + 2 * chunks, "end": 1 + 2 * chunks})
            made.append(attend(cache, *last))
    torch.testing.assert_close(*outputs[True], atol=1e-6, rtol=1e-6)
    early, late = outputs[False]
    assert not torch.allclose(early, late, atol=1e-3)


def ema_run(config: CacheConfig, chunks: int, dtype: torch.dtype) -> tuple[Tensor, list[Tensor]]:
    """The sink's keys after `chunks` one-frame chunks, and all keys that were written."""
    torch.manual_seed(7)
    cache, keys = new_cache(config, "slot", dtype), []
    for _ in range(chunks):
        query, key, value = qkv(1, dtype)
        attend(cache, query, key, value)
        cache.advance(1)
        keys.append(key)
    return cache.layers[0].key[:, :, :TOKENS], keys


def test_ema_by_hand() -> None:
    config = CacheConfig(
        window_frames=2, sink_frames=1, sink="ema", alpha=0.9, precision="in_place"
    )
    sink, keys = ema_run(config, 5, torch.float64)
    mean = keys[0]
    for gone in keys[1:3]:
        mean = 0.9 * mean + 0.1 * gone
    torch.testing.assert_close(sink, mean, atol=1e-12, rtol=0)


def test_shadow_keeps_what_bfloat16_loses() -> None:
    """At alpha 0.999 rounding to bfloat16 swallows most updates; the shadow follows float64."""

    def distance(precision: SinkPrecision, dtype: torch.dtype) -> float:
        config = CacheConfig(
            window_frames=1, sink_frames=1, sink="ema", alpha=0.999, precision=precision
        )
        sink, keys = ema_run(config, 200, dtype)
        wanted = keys[0].double()
        for gone in keys[1:-1]:
            wanted = 0.999 * wanted + 0.001 * gone.double()
        return float((sink.double() - wanted).abs().mean())

    assert distance("in_place", torch.float32) < 1e-5
    # The shadow is rounded once, to 8 bits: at most 2**-9 of values around 1.
    assert distance("shadow", torch.bfloat16) < 2e-3
    assert distance("in_place", torch.bfloat16) > 10 * distance("shadow", torch.bfloat16)


def test_ema_wants_raw_keys() -> None:
    config = CacheConfig(window_frames=2, sink_frames=1, sink="ema")
    with pytest.raises(ValueError, match="before RoPE"):
        new_cache(config, "absolute", torch.float32)


def test_memory_stays_where_it_is() -> None:
    cache = new_cache(CacheConfig(window_frames=3, sink_frames=1), "slot", torch.float32)
    addresses = [tensor.data_ptr() for tensor in cache.tensors().values()]
    for _ in range(20):
        attend(cache, *qkv(1, torch.float32))
        cache.advance(1)
    cache.reset()
    assert [tensor.data_ptr() for tensor in cache.tensors().values()] == addresses
    assert cache.end == 0
    assert all(not tensor.any() for tensor in cache.tensors().values())


def test_reset_is_a_new_cache() -> None:
    used = new_cache(CacheConfig(window_frames=2, sink_frames=1, sink="ema"), "slot", torch.float32)
    for _ in range(7):
        attend(used, *qkv(1, torch.float32))
        used.advance(1)
    used.reset()
    fresh = new_cache(used.config, "slot", torch.float32)
    for _ in range(5):
        parts = qkv(1, torch.float32)
        assert torch.equal(attend(used, *parts), attend(fresh, *parts))
        used.advance(1)
        fresh.advance(1)


def test_load_takes_a_snapshot_over_or_nothing() -> None:
    config = CacheConfig(window_frames=2, sink_frames=1, sink="ema")
    source, target = (new_cache(config, "slot", torch.float32) for _ in range(2))
    for _ in range(5):
        attend(source, *qkv(1, torch.float32))
        source.advance(1)
    target.load(source.tensors(), source.metadata())
    parts = qkv(1, torch.float32)
    assert torch.equal(attend(source, *parts), attend(target, *parts))
    other = new_cache(CacheConfig(window_frames=3, sink_frames=1), "slot", torch.float32)
    with pytest.raises(ValueError, match="another cache"):
        other.load(source.tensors(), source.metadata())
    assert other.end == 0


RULES = (
    CacheConfig(window_frames=3, sink="none"),
    CacheConfig(window_frames=2, sink_frames=1),
    CacheConfig(window_frames=2, sink_frames=1, sink="ema", alpha=0.5, precision="in_place"),
)


@pytest.mark.parametrize("rule", RULES, ids=["none", "static", "ema"])
@pytest.mark.parametrize("first", RULES, ids=["was none", "was static", "was ema"])
def test_a_cache_that_begins_anew_by_another_rule_is_one_of_that(
    first: CacheConfig, rule: CacheConfig
) -> None:
    """And what is saved of it says by which."""
    used, fresh = (new_cache(config, "slot", torch.float32) for config in (first, rule))
    for _ in range(5):
        attend(used, *qkv(1, torch.float32))
        used.advance(1)
    memory = used.layers[0].key.data_ptr()
    used.reset(rule)
    assert used.layers[0].key.data_ptr() == memory
    for chunk in range(6):
        if chunk == 4:
            loaded = new_cache(first, "slot", torch.float32)
            loaded.load(used.tensors(), used.metadata())
            used = loaded
        parts = qkv(1, torch.float32)
        assert torch.equal(attend(used, *parts), attend(fresh, *parts))
        used.advance(1)
        fresh.advance(1)
    assert used.config == rule and ("rule" in used.metadata()) == (first != rule)


def test_a_rule_that_needs_other_tensors_is_refused() -> None:
    cache = new_cache(RULES[0], "slot", torch.float32)
    for rule in (
        CacheConfig(window_frames=4),
        CacheConfig(window_frames=2, sink_frames=1, sink="ema", precision="shadow"),
    ):
        with pytest.raises(ValueError, match="cannot keep by"):
            cache.reset(rule)
    assert cache.config == RULES[0]


@pytest.mark.parametrize("rule", RULES, ids=["none", "static", "ema"])
def test_a_chunk_that_failed_is_made_again_as_if_for_the_first_time(rule: CacheConfig) -> None:
    """What its frames make leave for an average of the past is in it once, before it began not."""
    failed, fresh = (new_cache(rule, "slot", torch.float32) for _ in range(2))
    for chunk in range(8):
        parts = qkv(1, torch.float32)
        mark = failed.mark()
        for _ in range(chunk % 3):
            attend(failed, *qkv(1, torch.float32))
        if chunk == 7:
            failed.advance(1)
        failed.go_back(mark)
        assert torch.equal(attend(failed, *parts), attend(fresh, *parts))
        failed.advance(1)
        fresh.advance(1)
