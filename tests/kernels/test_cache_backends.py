"""The stream's cache through Triton against the same cache through torch, chunk by chunk.

Both are float32: they differ by the order of sums and by rotations made from tables (5e-6).
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("triton")

from rollcast.kernels.dispatch import Backend, attention, raw_key_attention, use_backend
from rollcast.models.student.config import CacheConfig
from rollcast.models.student.kv_cache import KVCache, StudentCache
from rollcast.models.student.rope import RopeTable, rotate

HEADS, DIM, ROWS, COLUMNS = 2, 16, 1, 3
TOKENS = ROWS * COLUMNS


@st.composite
def configs(draw: st.DrawFn) -> CacheConfig:
    sinks = draw(st.integers(0, 3))
    return CacheConfig(
        window_frames=draw(st.integers(1, 5)),
        sink_frames=sinks,
        sink="ema" if sinks and draw(st.booleans()) else "static",
        alpha=draw(st.sampled_from((0.0, 0.3, 0.9))),
        precision=draw(st.sampled_from(("in_place", "shadow"))),
        ragged=draw(st.sampled_from(("fold", "overwrite"))),
        guard_sink=draw(st.booleans()),
    )


def run(
    backend: Backend,
    config: CacheConfig,
    lengths: list[int],
    device: torch.device,
    *,
    trained_frames: int = 0,
) -> tuple[list[torch.Tensor], dict[str, torch.Tensor]]:
    """The attention of every call and the cache at the end; pins every second chunk if it may."""
    torch.manual_seed(0)
    layers = [KVCache(config, 1, HEADS, TOKENS, DIM, device=device)]
    cache = StudentCache(
        config,
        layers,
        RopeTable(DIM, ROWS, COLUMNS, device=device),
        "top_aligned" if trained_frames else "slot",
        trained_frames=trained_frames,
    )
    cache.poison()
    outputs: list[torch.Tensor] = []
    with use_backend(backend):
        for number, length in enumerate(lengths):
            if config.pinned_frames and number % 2:
                cache.begin_shot(1.0)
            for _ in range(2):
                shape = (3, 1, HEADS, length * TOKENS, DIM)
                query, key, value = torch.randn(shape, device=device).unbind(0)
                call = cache.begin(length)
                keys, values = layers[0].update(call, key, value)
                rotated = rotate(query, call.query)
                # A kernel takes three spans; pinned frames may leave more.
                assert call.rotations is None or backend == "triton"
                assert config.pinned_frames or (call.rotations is None) == (backend != "triton")
                outputs.append(
                    attention(rotated, keys, values)
                    if call.rotations is None
                    else raw_key_attention(rotated, keys, values, *call.rotations)
                )
            cache.advance(length)
    return outputs, cache.tensors()


@pytest.mark.slow
@settings(deadline=None, max_examples=15)
@given(
    config=configs(),
    lengths=st.lists(st.integers(1, 4), min_size=3, max_size=6),
)
def test_triton_keeps_the_same_cache(
    device: torch.device, config: CacheConfig, lengths: list[int]
) -> None:
    lengths = [min(length, config.window_frames) for length in lengths]
    made, made_cache = run("triton", config, lengths, device)
    wanted, wanted_cache = run("sdpa", config, lengths, device)
    torch.testing.assert_close(made, wanted, atol=5e-6, rtol=1e-5)
    torch.testing.assert_close(made_cache, wanted_cache, atol=1e-6, rtol=1e-6, equal_nan=True)


@pytest.mark.slow
@settings(deadline=None, max_examples=10)
@given(
    sinks=st.integers(0, 2),
    pinned=st.integers(0, 2),
    trained=st.sampled_from((0, 9)),
    lengths=st.lists(st.integers(1, 3), min_size=4, max_size=7),
)
def test_triton_keeps_shots_and_gaps(
    device: torch.device, sinks: int, pinned: int, trained: int, lengths: list[int]
) -> None:
    config = CacheConfig(window_frames=5, sink_frames=sinks, pinned_frames=pinned)
    made, made_cache = run("triton", config, lengths, device, trained_frames=trained)
    wanted, wanted_cache = run("sdpa", config, lengths, device, trained_frames=trained)
    torch.testing.assert_close(made, wanted, atol=5e-6, rtol=1e-5)
    torch.testing.assert_close(made_cache, wanted_cache, atol=1e-6, rtol=1e-6, equal_nan=True)
