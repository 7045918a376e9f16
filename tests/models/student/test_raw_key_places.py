"""Raw keys aligned to the top of the trained range, against a list of frames and the formula."""

from __future__ import annotations

import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor

from rollcast.kernels.dense_attention.reference import attention_ref
from rollcast.models.student.config import CacheConfig, StudentConfig
from rollcast.models.student.kv_cache import KVCache
from rollcast.models.student.rope import RopeTable, rotate
from rollcast.models.student.student_cache import StudentCache

from ...variants import examples

HEADS, DIM, ROWS, COLUMNS = 2, 12, 1, 2
TOKENS = ROWS * COLUMNS
ROPE = RopeTable(DIM, ROWS, COLUMNS)


def places(held: int, sinks: int, last_frame: int, trained: int) -> list[int]:
    """Positions as published for Self-Gradient Forcing+: the window ends at the top."""
    if held <= sinks:
        return list(range(held))
    top = min(last_frame, trained - 1)
    return [*range(sinks), *range(top - (held - sinks) + 1, top + 1)]


@pytest.mark.slow
@examples(
    30,
    100,
    sinks=st.integers(0, 3),
    window=st.integers(1, 5),
    more=st.integers(0, 9),
    lengths=st.lists(st.integers(1, 4), min_size=1, max_size=9),
)
def test_equals_a_list_of_frames(sinks: int, window: int, more: int, lengths: list[int]) -> None:
    torch.manual_seed(0)
    config = CacheConfig(window_frames=window, sink_frames=sinks)
    trained = sinks + window + more
    layers = [KVCache(config, 1, HEADS, TOKENS, DIM, dtype=torch.float64)]
    cache = StudentCache(config, layers, ROPE, "top_aligned", trained_frames=trained)
    cache.poison()
    frames: list[tuple[Tensor, Tensor]] = []
    end = 0
    for length in (min(length, window) for length in lengths):
        end += length
        for again in range(2):
            query, key, value = torch.randn(3, 1, HEADS, length * TOKENS, DIM).double().unbind(0)
            call = cache.begin(length)
            cache.arrange(call)
            keys, values = cache.layers[0].update(call, key, value)
            assert call.query is not None
            made = attention_ref(rotate(query, call.query), keys, values)
            if again:
                del frames[-length:]
            frames += zip(key.split(TOKENS, 2), value.split(TOKENS, 2), strict=True)
            del frames[sinks : sinks + max(0, len(frames) - sinks - window)]
            at = places(len(frames), sinks, end - 1, trained)
            seen = torch.cat(
                [rotate(f[0], ROPE.rotations([p])) for f, p in zip(frames, at, strict=True)], 2
            )
            rotated = rotate(query, ROPE.rotations(at[-length:]))
            wanted = attention_ref(rotated, seen, torch.cat([f[1] for f in frames], 2))
            # Rotations are rounded to float32, all else is float64.
            torch.testing.assert_close(made, wanted, atol=2e-6, rtol=1e-5)
        cache.advance(length)


def test_a_range_as_long_as_the_cache_is_by_slot() -> None:
    """The released launcher's settings: the gap never opens."""
    config = CacheConfig(window_frames=9, sink_frames=3)
    outputs: list[Tensor] = []
    for family, trained in (("top_aligned", 12), ("slot", 0)):
        torch.manual_seed(1)
        layers = [KVCache(config, 1, HEADS, TOKENS, DIM)]
        cache = StudentCache(config, layers, ROPE, family, trained_frames=trained)  # pyright: ignore[reportArgumentType]
        made: list[Tensor] = []
        for _ in range(8):
            query, key, value = torch.randn(3, 1, HEADS, 3 * TOKENS, DIM).unbind(0)
            call = cache.begin(3)
            keys, values = cache.layers[0].update(call, key, value)
            assert call.query is not None
            made.append(attention_ref(rotate(query, call.query), keys, values))
            cache.advance(3)
        outputs.append(torch.cat(made, 2))
    assert torch.equal(*outputs)


def test_the_range_goes_with_its_rope() -> None:
    shape = {
        "dim": 12, "ffn_dim": 8, "num_heads": 1, "num_layers": 1, "in_channels": 1,
        "out_channels": 1, "text_dim": 4, "text_len": 2,
    }  # fmt: skip
    for wrong in ({"rope": "top_aligned"}, {"rope": "slot", "trained_frames": 21}):
        with pytest.raises(ValueError, match="trained_frames"):
            StudentConfig(**(shape | wrong))  # pyright: ignore[reportArgumentType]
