"""Ring attention against its float64 definition, dead slots full of NaN.

Relative errors (root mean square of the difference over that of the definition): float32 is bounded
by 2e-6, some twenty roundings of 6e-8 in sums of at most a few hundred terms; float16 by 1e-3,
because weights and outputs are rounded to 11 bits (4.9e-4 each at most).
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor

pytest.importorskip("triton")

from rollcast.kernels.ring_attention.reference import ring_attention_ref
from rollcast.kernels.ring_attention.ring_attention import ring_attention
from rollcast.kernels.ring_plan import Span, spans_of
from rollcast.kernels.tile.tile_sizes import Tile

from ...variants import examples

LIMITS = {torch.float32: 2e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}
SMALL = Tile(16, 16)


def relative(made: Tensor, wanted: Tensor) -> float:
    return float((made.double() - wanted).norm() / wanted.norm().clamp_min(1e-12))


def check(
    device: torch.device,
    *,
    spans: tuple[Span, ...],
    slots: int,
    heads: tuple[int, int] = (2, 2),
    queries: int = 19,
    dim: int = 64,
    dtype: torch.dtype = torch.float32,
    tile: Tile = SMALL,
    batch: int = 1,
    scale: float | None = None,
) -> None:
    # Memory order of a projection's heads for the queries; of a cache for keys and values.
    query = torch.randn(batch, queries, heads[0], dim, device=device).to(dtype).transpose(1, 2)
    key, value = torch.randn(2, batch, heads[1], slots, dim, device=device).to(dtype)
    live = torch.zeros(slots, dtype=torch.bool, device=device)
    for span in spans:
        live[span.start : span.start + span.tokens] = True
    key[:, :, ~live] = float("nan")
    value[:, :, ~live] = float("nan")
    out, lse = ring_attention(query, key, value, spans, scale=scale, tile=tile)
    wanted, wanted_lse = ring_attention_ref(query, key, value, spans, scale=scale)
    assert out.dtype == dtype and out.shape == query.shape
    assert relative(out, wanted) < LIMITS[dtype]
    # Scores stay in float32 whatever the inputs.
    assert relative(lse, wanted_lse) < 2e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("dim", [64, 96, 128])
@pytest.mark.parametrize("descriptors", [False, True], ids=["pointers", "tma"])
def test_head_sizes(device: torch.device, dim: int, dtype: torch.dtype, descriptors: bool) -> None:
    """A wrapped ring with ragged spans, grouped heads."""
    torch.manual_seed(dim)
    check(
        device,
        spans=(Span(0, 21), Span(60, 35), Span(25, 16)),
        slots=97,
        heads=(4, 2),
        dim=dim,
        dtype=dtype,
        tile=Tile(32, 16, descriptors=descriptors),
    )


@pytest.mark.parametrize(
    "spans",
    [
        (Span(0, 1),),
        (Span(0, 16),),
        (Span(3, 15),),
        (Span(0, 5), Span(80, 17)),
        (Span(0, 0), Span(7, 3), Span(0, 0)),
        (Span(0, 16), Span(48, 32), Span(16, 16)),
    ],
    ids=["one", "one tile", "tail only", "last slot", "empty spans", "no tails"],
)
def test_edges(device: torch.device, spans: tuple[Span, ...]) -> None:
    torch.manual_seed(1)
    for descriptors in (False, True):
        check(device, spans=spans, slots=97, tile=Tile(16, 16, descriptors=descriptors))


def test_nothing_live_is_zero(device: torch.device) -> None:
    query = torch.randn(1, 2, 5, 64, device=device)
    cache = torch.full((1, 2, 32, 64), float("nan"), device=device)
    out, lse = ring_attention(query, cache, cache, (), tile=SMALL)
    assert not out.any()
    assert torch.equal(lse, torch.full_like(lse, -torch.inf))


@st.composite
def rings(draw: st.DrawFn) -> dict[str, object]:
    """Frames of any grid, a sink, a ring turned anywhere, heads in groups."""
    rows, columns = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    sinks, window = draw(st.integers(0, 2)), draw(st.integers(1, 4))
    turned = draw(st.integers(0, window - 1))
    order = [*range(sinks), *(sinks + (slot - turned) % window for slot in range(window))]
    shared = draw(st.integers(1, 2))
    return {
        "grid": (rows, columns),
        "order": order,
        "heads": (shared * draw(st.integers(1, 3)), shared),
        "queries": draw(st.integers(1, 40)),
        "dim": draw(st.sampled_from((6, 16, 26, 64))),
        "batch": draw(st.integers(1, 2)),
        "tile": Tile(
            draw(st.sampled_from((16, 32))),
            draw(st.sampled_from((16, 32))),
        ),
        "scale": draw(st.sampled_from((None, 0.02, 1.3))),
        "seed": draw(st.integers(0, 2**16)),
    }


@pytest.mark.slow
@examples(8, 25, ring=rings())
def test_any_ring(device: torch.device, ring: dict[str, object]) -> None:
    torch.manual_seed(ring.pop("seed"))  # type: ignore[arg-type]
    rows, columns = ring.pop("grid")  # type: ignore[misc]
    order: list[int] = ring.pop("order")  # type: ignore[assignment]
    spans = spans_of(order, rows * columns)
    # Two frames of slots that nothing lives in.
    slots = (len(order) + 2) * rows * columns
    check(device, spans=spans, slots=slots, **ring)  # type: ignore[arg-type]


def test_lse_merges_two_halves(device: torch.device) -> None:
    """What the log-sum-exp is for: attention to two parts is attention to both."""
    torch.manual_seed(5)
    query, key, value = torch.randn(3, 1, 2, 33, 64, device=device)
    parts = [
        ring_attention(query, key, value, (span,), tile=SMALL)
        for span in (Span(0, 20), Span(20, 13))
    ]
    whole, whole_lse = ring_attention(query, key, value, (Span(0, 33),), tile=SMALL)
    lse = torch.logaddexp(parts[0][1], parts[1][1])
    merged = sum(out * (part - lse).exp()[..., None] for out, part in parts)
    torch.testing.assert_close(merged, whole, atol=2e-6, rtol=1e-5)
    torch.testing.assert_close(lse, whole_lse, atol=2e-6, rtol=1e-6)


def test_large_scores_do_not_overflow(device: torch.device) -> None:
    torch.manual_seed(6)
    query, key, value = torch.randn(3, 1, 1, 20, 64, device=device)
    out, lse = ring_attention(200 * query, key, value, (Span(0, 20),), tile=SMALL)
    wanted, wanted_lse = ring_attention_ref(200 * query, key, value, (Span(0, 20),))
    assert relative(out, wanted) < 1e-3
    assert relative(lse, wanted_lse) < 1e-6


def test_misfits_are_told(device: torch.device) -> None:
    query, cache = torch.randn(1, 3, 4, 64, device=device), torch.randn(1, 2, 8, 64, device=device)
    with pytest.raises(ValueError, match="multiple of Hkv"):
        ring_attention(query, cache, cache, (Span(0, 8),))
    with pytest.raises(ValueError, match="leave the 8 slots"):
        ring_attention(query[:, :2], cache, cache, (Span(4, 5),))
    with pytest.raises(ValueError, match="at most 3"):
        ring_attention(query[:, :2], cache, cache, (Span(0, 1),) * 4)
    with pytest.raises(ValueError, match="one dtype"):
        ring_attention(query[:, :2].half(), cache, cache, (Span(0, 8),))
