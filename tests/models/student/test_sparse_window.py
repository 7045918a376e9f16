"""The student with a thinned-out window: stored in another order, otherwise the same stream."""

from __future__ import annotations

import pytest
import torch

from rollcast.kernels.block_sparse.sparse_policy import SparsePolicy
from rollcast.kernels.dispatch import Backend, use_backend
from rollcast.models.student.causal_student import CausalStudent
from rollcast.models.student.config import CacheConfig, RopeFamily, SinkKind, StudentConfig

from ...variants import some_of

ALL = SparsePolicy(query_block=64, min_density=1.0, max_density=1.0)


def stream(
    sparse: SparsePolicy | None,
    *,
    rope: RopeFamily = "absolute",
    sink: SinkKind = "static",
    backend: Backend = "sdpa",
    chunks: int = 4,
    calls: int = 1,
    layers: int = 2,
) -> torch.Tensor:
    """Predictions of a student of 8 x 14 tokens per frame, a window of 4 frames and a sink."""
    torch.manual_seed(0)
    shape = StudentConfig(
        in_channels=4, out_channels=4, dim=24, ffn_dim=32, num_heads=2, num_layers=layers,
        text_dim=8, text_len=4, freq_dim=16, patch=(1, 2, 2), rope=rope,
    )  # fmt: skip
    student = CausalStudent(shape).eval()
    torch.nn.init.normal_(student.head.head.weight, std=0.2)
    context = student.encode_text(torch.randn(1, 3, 8))
    config = CacheConfig(window_frames=4, sink_frames=1, sink=sink, alpha=0.5, sparse=sparse)
    cache = student.new_cache(config, height=16, width=28)
    cache.poison()
    made: list[torch.Tensor] = []
    with torch.inference_mode(), use_backend(backend):
        for _ in range(chunks):
            for _ in range(calls):
                latents = torch.randn(1, 2, 4, 16, 28)
                made.append(student(latents, torch.full((1, 2), 500.0), context, cache))
            cache.advance(2)
    return torch.cat(made)


@pytest.mark.parametrize(("rope", "sink"), [("absolute", "static"), ("slot", "ema")])
@pytest.mark.parametrize("backend", ["sdpa", "reference"])
def test_all_blocks_are_the_whole_window(
    rope: RopeFamily, sink: SinkKind, backend: Backend
) -> None:
    """Another order of tokens and of sums: float32 rounding, no more."""
    wanted = stream(None, rope=rope, sink=sink)
    made = stream(ALL, rope=rope, sink=sink, backend=backend)
    torch.testing.assert_close(made, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["adaptive", "top_k", "sliding_tiles"])
@pytest.mark.parametrize("rope", ["absolute", "slot"])
def test_a_thin_window_is_close_and_the_same_every_time(rope: RopeFamily, kind: str) -> None:
    policy = SparsePolicy(
        kind=kind,  # type: ignore[arg-type]
        query_block=64,
        max_density=0.4,
        samples=8 if rope == "slot" else 0,
        reach=(1, 4, 4),
    )
    dense, made = stream(None, rope=rope), stream(policy, rope=rope)
    assert torch.equal(made, stream(policy, rope=rope))
    assert not torch.equal(made, dense)
    error = float((made - dense).norm() / dense.norm())
    assert error < 0.1, error


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rope", "sink"),
    [pytest.param("absolute", "static", marks=pytest.mark.long), ("slot", "ema")],
)
@pytest.mark.parametrize("kind", some_of(["top_k", "sliding_tiles"], "sliding_tiles"))
def test_backends_choose_and_make_the_same(rope: RopeFamily, sink: SinkKind, kind: str) -> None:
    """Triton's kernels in its interpreter, and torch: few enough blocks that it does not rather
    attend to everything, as torch does here with sliding tiles. Kernels store tokens in the order
    of the curve, and keep means of past blocks while the ring comes round; of raw keys, which turn
    with every chunk, while a chunk is made."""
    pytest.importorskip("triton")
    policy = SparsePolicy(kind, query_block=64, max_density=0.4, reach=(1, 2, 4))  # type: ignore[arg-type]
    backends: tuple[Backend, ...] = ("triton", "sdpa") if kind == "top_k" else ("triton",)
    calls, chunks = (1, 3) if rope == "absolute" else (2, 2)

    def made_by(backend: Backend) -> torch.Tensor:
        # a layer is as good as two, and half as long in the interpreter
        return stream(
            policy, rope=rope, sink=sink, backend=backend, chunks=chunks, calls=calls, layers=1
        )

    wanted = made_by("reference")
    for backend in backends:
        torch.testing.assert_close(made_by(backend), wanted, atol=1e-5, rtol=1e-5)


def test_an_avatar_has_no_thin_window() -> None:
    with pytest.raises(ValueError, match="sink of frames"):
        CacheConfig(window_frames=4, rolling_distance=10, sparse=ALL)
