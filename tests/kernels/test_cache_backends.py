"""The stream's cache through Triton against the same cache through torch, chunk by chunk.

Both are float32: they differ by the order of sums and by rotations made from tables (5e-6).
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

pytest.importorskip("triton")

from rollcast.kernels.dispatch import Backend, use_backend
from rollcast.models.student import kv_cache
from rollcast.models.student.blocks import QKVO
from rollcast.models.student.cache_attend import cache_attend
from rollcast.models.student.config import CacheConfig
from rollcast.models.student.kv_cache import KVCache, StudentCache
from rollcast.models.student.rope import RopeTable

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
    norms = QKVO(HEADS * DIM, HEADS, 1e-6).to(device).requires_grad_(False)
    torch.nn.init.normal_(norms.norm_q.weight, 1.0, 0.3)
    torch.nn.init.normal_(norms.norm_k.weight, 1.0, 0.3)
    outputs: list[torch.Tensor] = []
    with use_backend(backend):
        for number, length in enumerate(lengths):
            if config.pinned_frames and number % 2:
                cache.begin_shot(1.0)
            for _ in range(2):
                projected = torch.randn((3, 1, length * TOKENS, HEADS * DIM), device=device)
                call = cache.begin(length)
                # A kernel takes three spans; pinned frames may leave more.
                assert call.rotations is None or backend == "triton"
                assert config.pinned_frames or (call.rotations is None) == (backend != "triton")
                attend = cache_attend([(layers[0], call)])
                outputs.append(
                    attend(*norms.normed_heads(*projected))
                    if callable(attend)
                    else attend.attend_projected(norms, *projected)
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


@pytest.mark.parametrize("backend", ["triton", "sdpa"])
def test_keys_are_turned_once_a_chunk(
    device: torch.device, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past keys stand still while a chunk is made, so four more calls on it turn nothing anew.

    And what was turned is forgotten when a snapshot is loaded.
    """
    turned: list[int] = []
    plain = kv_cache.rotate_keys

    def noted(*given: Any, **options: Any) -> None:
        turned.append(1)
        plain(*given, **options)

    monkeypatch.setattr(kv_cache, "rotate_keys", noted)
    config = CacheConfig(window_frames=4, sink_frames=2)
    layer = KVCache(config, 1, HEADS, TOKENS, DIM, device=device)
    cache = StudentCache(config, [layer], RopeTable(DIM, ROWS, COLUMNS, device=device), "slot")
    norms = QKVO(HEADS * DIM, HEADS, 1e-6).to(device).requires_grad_(False)

    def call(frames: int) -> Tensor:
        torch.manual_seed(cache.position)
        projected = torch.randn((3, 1, frames * TOKENS, HEADS * DIM), device=device)
        attend = cache_attend([(layer, cache.begin(frames))])
        if callable(attend):
            return attend(*norms.normed_heads(*projected))
        return attend.attend_projected(norms, *projected)

    with use_backend(backend):
        for chunk in range(4):
            first = call(2)
            for _ in range(4):
                torch.testing.assert_close(call(2), first, atol=0.0, rtol=0.0)
            assert len(turned) == (chunk + 1 if backend == "triton" else 0)
            if chunk < 3:
                cache.advance(2)
        saved = {name: tensor.clone() for name, tensor in cache.tensors().items()}
        cache.load(saved, cache.metadata())
        torch.testing.assert_close(call(2), first, atol=0.0, rtol=0.0)
    assert len(turned) == (5 if backend == "triton" else 0)
