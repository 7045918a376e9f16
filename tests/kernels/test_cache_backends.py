"""The stream's cache through Triton against the same cache through torch, chunk by chunk.

Both are float32: they differ by the order of sums and by rotations made from tables (5e-6).
"""

from __future__ import annotations

from typing import Any, Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

pytest.importorskip("triton")

from rollcast.kernels.dispatch import Backend, use_backend
from rollcast.kernels.launch import Launch, watch_launches
from rollcast.models.student import kv_cache
from rollcast.models.student.blocks import QKVO
from rollcast.models.student.cache_attend import cache_attend
from rollcast.models.student.config import CacheConfig, RopeFamily
from rollcast.models.student.kv_cache import KVCache
from rollcast.models.student.rope import RopeTable
from rollcast.models.student.student_cache import StudentCache

from ..variants import some_of

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
    fused: list[bool] | None = None,
) -> tuple[list[torch.Tensor], dict[str, torch.Tensor]]:
    """The attention of every call and the cache at the end; pins every second chunk if it may."""
    torch.manual_seed(0)
    fused = [] if fused is None else fused
    layers = [KVCache(config, 1, HEADS, TOKENS, DIM, device=device)]
    family: RopeFamily = "top_aligned" if trained_frames else "slot"
    if config.bounded_sink:
        family = "absolute"
    cache = StudentCache(
        config,
        layers,
        RopeTable(DIM, ROWS, COLUMNS, device=device),
        family,
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
                cache.arrange(call)
                # A kernel takes three spans; pinned frames may leave more.
                assert call.rotations is None or backend == "triton"
                if not config.pinned_frames and not config.bounded_sink:
                    assert (call.rotations is None) == (backend != "triton")
                fused.append(call.tables is not None)
                attend = cache_attend([(layers[0], call)])
                outputs.append(
                    attend(*norms.normed_heads(*projected))
                    if callable(attend)
                    else attend.attend_projected(norms, *projected)
                )
            cache.advance(length)
    return outputs, cache.tensors()


@pytest.mark.long
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


@pytest.mark.long
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


@pytest.mark.parametrize(
    ("sinks", "lengths"), [(2, [2, 2, 2, 2]), (3, [2, 2, 1, 2]), (0, [2, 2, 2])]
)
def test_a_sink_close_by_keeps_the_fused_path(
    device: torch.device, sinks: int, lengths: list[int]
) -> None:
    """All but the calls that fill the sink are stored by one kernel."""
    config = CacheConfig(window_frames=4, sink_frames=sinks, bounded_sink=True)
    fused: list[bool] = []
    made, made_cache = run("triton", config, lengths, device, fused=fused)
    wanted, wanted_cache = run("sdpa", config, lengths, device)
    filling = -(-sinks // 2)
    assert fused == [False] * 2 * filling + [True] * 2 * (len(lengths) - filling)
    torch.testing.assert_close(made, wanted, atol=5e-6, rtol=1e-5)
    torch.testing.assert_close(made_cache, wanted_cache, atol=2e-6, rtol=1e-5, equal_nan=True)


@pytest.mark.slow
@pytest.mark.parametrize("sink", some_of(["ema", "static"], "ema"))
def test_what_is_done_to_all_layers_at_once_is_done_to_each(
    device: torch.device, sink: Literal["ema", "static"]
) -> None:
    """Layers that are parts of one cache hold what layers of their own do, bit for bit."""
    config = CacheConfig(
        window_frames=4, sink_frames=2, sink=sink, bounded_sink=sink == "static", alpha=0.5
    )
    rope = RopeTable(DIM, ROWS, COLUMNS, device=device)
    family: RopeFamily = "slot" if sink == "ema" else "absolute"
    whole = KVCache(config, 2, HEADS, TOKENS, DIM, device=device)
    own = [KVCache(config, 1, HEADS, TOKENS, DIM, device=device) for _ in range(2)]
    caches = [
        StudentCache(config, whole.split(2), rope, family, whole=whole),
        StudentCache(config, own, rope, family),
    ]
    norms = QKVO(HEADS * DIM, HEADS, 1e-6).to(device).requires_grad_(False)
    made: list[list[Tensor]] = [[], []]
    launched: list[list[str]] = [[], []]
    for cache, outputs, names in zip(caches, made, launched, strict=True):
        torch.manual_seed(3)

        def note(launch: Launch, names: list[str] = names) -> None:
            names.append(launch.kernel.__name__)

        with use_backend("triton"), watch_launches(note):
            for _ in range(4):
                call = cache.begin(2)
                cache.arrange(call)
                for layer in cache.layers:
                    projected = torch.randn((3, 1, 2 * TOKENS, HEADS * DIM), device=device)
                    attend = cache_attend([(layer, call)])
                    outputs.append(
                        attend(*norms.normed_heads(*projected))
                        if callable(attend)
                        else attend.attend_projected(norms, *projected)
                    )
                cache.advance(2)
    torch.testing.assert_close(made[0], made[1], atol=0.0, rtol=0.0)
    kept = caches[1].tensors()
    assert all(torch.equal(each, kept[name]) for name, each in caches[0].tensors().items())
    # the first chunk fills the sink, which is left to each layer; a sink close by moves with the
    # first frame that leaves, with the fourth chunk
    by_layer, at_once = (2, 3) if sink == "ema" else (0, 2)
    turned = [names.count("key_rotation_kernel") for names in launched]
    assert turned == [by_layer + at_once, by_layer + 2 * at_once]


@pytest.mark.slow
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
        begun = cache.begin(frames)
        cache.arrange(begun)
        attend = cache_attend([(layer, begun)])
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
