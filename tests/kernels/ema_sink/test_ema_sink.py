"""The fused EMA-Sink update against its definition: every slot of the cache, dead ones included.

Written slots are copies and equal bit for bit. Means differ by the rounding of float32 products
(1e-6 of values around 1), in float16 by one rounding of the result (5e-4 relative).
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import strategies as st

pytest.importorskip("triton")

from rollcast.kernels.ema_sink.ema_sink import ema_sink
from rollcast.kernels.ema_sink.reference import ema_sink_ref
from rollcast.kernels.ring_plan import FrameWrite, SinkFold

from ...variants import examples


def run_both(
    device: torch.device,
    fold: SinkFold,
    writes: tuple[FrameWrite, ...],
    *,
    frames: int,
    tokens: int,
    shadow: bool,
    dtype: torch.dtype,
    dim: int = 24,
) -> None:
    slots = (fold.sink_frames + fold.window_frames) * tokens
    caches = torch.randn(2, 2, 3, slots, dim, device=device).to(dtype)
    # Poison what is never evicted and never written: it must come through as it is.
    new = torch.randn(2, 2, frames * tokens, 3, dim, device=device).to(dtype).transpose(2, 3)
    shadows = torch.randn(2, 2, 3, fold.sink_frames * tokens, dim, device=device)
    results = []
    for update in (ema_sink, ema_sink_ref):
        (key, value), (shadow_key, shadow_value) = caches.clone(), shadows.clone()
        update(
            key, value, new[0], new[1], fold=fold, writes=writes, frame_tokens=tokens,
            shadow_key=shadow_key if shadow else None,
            shadow_value=shadow_value if shadow else None,
        )  # fmt: skip
        results.append((key, value, shadow_key, shadow_value))
    limit = 1e-3 if dtype == torch.float16 else 1e-6
    for made, wanted in zip(*results, strict=True):
        torch.testing.assert_close(made, wanted, atol=limit, rtol=limit)
    written = [slot for w in writes for slot in range(w.slot, w.slot + w.frames)]
    for slot in written:
        part = slice(slot * tokens, (slot + 1) * tokens)
        assert torch.equal(results[0][0][:, :, part], results[1][0][:, :, part])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("shadow", [False, True], ids=["in_place", "shadow"])
def test_a_chunk_that_wraps(device: torch.device, shadow: bool, dtype: torch.dtype) -> None:
    """Three frames leave, the ring wraps within the chunk; frames of 7 tokens."""
    torch.manual_seed(0)
    fold = SinkFold(sink_frames=3, window_frames=4, frames=3, gone=2, place=1, alpha=0.7)
    writes = (FrameWrite(0, 5, 2), FrameWrite(2, 3, 1))
    run_both(device, fold, writes, frames=3, tokens=7, shadow=shadow, dtype=dtype)


def test_more_frames_than_the_sink_fold_in_order(device: torch.device) -> None:
    torch.manual_seed(1)
    fold = SinkFold(sink_frames=1, window_frames=4, frames=4, gone=3, place=0, alpha=0.5)
    run_both(device, fold, (), frames=4, tokens=5, shadow=True, dtype=torch.float32)


@pytest.mark.parametrize("shadow", [False, True], ids=["in_place", "shadow"])
def test_the_first_chunk_fills_the_sink_and_its_shadow(device: torch.device, shadow: bool) -> None:
    torch.manual_seed(2)
    fold = SinkFold(sink_frames=2, window_frames=3, frames=0, gone=0, place=0, alpha=0.9)
    writes = (FrameWrite(0, 0, 3),)
    run_both(device, fold, writes, frames=3, tokens=4, shadow=shadow, dtype=torch.float32)


@pytest.mark.slow
@examples(
    7,
    20,
    sinks=st.integers(1, 3),
    window=st.integers(1, 4),
    gone=st.integers(0, 3),
    tokens=st.integers(1, 9),
    shadow=st.booleans(),
    alpha=st.sampled_from((0.0, 0.3, 0.999, 1.0)),
    data=st.data(),
)
def test_any_ring(
    device: torch.device,
    sinks: int,
    window: int,
    gone: int,
    tokens: int,
    shadow: bool,
    alpha: float,
    data: st.DataObject,
) -> None:
    torch.manual_seed(tokens)
    frames = data.draw(st.integers(1, window))
    gone %= window
    fold = SinkFold(sinks, window, frames, gone, data.draw(st.integers(0, sinks - 1)), alpha)
    before = min(frames, window - gone)
    writes = (FrameWrite(0, sinks + gone, before), FrameWrite(before, sinks, frames - before))
    run_both(
        device,
        fold,
        writes,
        frames=frames,
        tokens=tokens,
        shadow=shadow,
        dtype=torch.float32,
        dim=10,
    )


def test_misfits_are_told(device: torch.device) -> None:
    fold = SinkFold(sink_frames=1, window_frames=2, frames=1, gone=0, place=0, alpha=0.5)
    cache, new = torch.zeros(1, 1, 6, 8, device=device), torch.zeros(1, 1, 2, 8, device=device)
    with pytest.raises(ValueError, match="contiguous"):
        ema_sink(cache.mT, cache, new, new, fold=fold, writes=(), frame_tokens=2)
    with pytest.raises(ValueError, match="or none"):
        ema_sink(cache, cache, new, new, fold=fold, writes=(), frame_tokens=2, shadow_key=cache)
    with pytest.raises(ValueError, match="expected"):
        ema_sink(
            cache, cache, new, new, fold=fold, writes=(), frame_tokens=2,
            shadow_key=cache, shadow_value=cache,
        )  # fmt: skip
