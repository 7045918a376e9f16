"""Projections as one matrix, and the parts of a block that a GPU computes in other steps."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("triton")

from rollcast.benchmarks.kernels.operation_count import counted
from rollcast.kernels.dispatch import linear_gelu, use_backend
from rollcast.models.student.causal_student import CausalStudent
from rollcast.models.student.conditioning import TextContext
from rollcast.models.student.config import CacheConfig, StudentConfig

SHAPE = StudentConfig(
    dim=24, ffn_dim=40, num_heads=2, num_layers=2, in_channels=3, out_channels=3, text_dim=8,
    text_len=4, rope="slot",
)  # fmt: skip
CACHE = CacheConfig(window_frames=2, sink_frames=1, sink="ema", alpha=0.5)


@pytest.fixture
def student() -> Iterator[CausalStudent]:
    torch.manual_seed(0)
    made = CausalStudent(SHAPE).eval().requires_grad_(False)
    for parameter in made.head.parameters():
        nn.init.normal_(parameter, std=0.3)
    yield made


def context(student: CausalStudent) -> TextContext:
    return student.encode_text(torch.ones(1, 3, SHAPE.text_dim))


def stream(student: CausalStudent, chunks: int) -> list[Tensor]:
    """Two calls on each chunk of one frame."""
    torch.manual_seed(1)
    cache, made = student.new_cache(CACHE, height=4, width=6), list[Tensor]()
    text = context(student)
    for _ in range(chunks):
        for time in (900.0, 300.0):
            latents = torch.randn(1, 1, 3, 4, 6)
            made.append(student(latents, torch.full((1, 1), time), text, cache))
        cache.advance(1)
    return made


def test_packing_changes_no_name_and_no_value(student: CausalStudent) -> None:
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    student.pack()
    after = student.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(tensor, before[name]) for name, tensor in after.items())
    block = student.wan_blocks()[0].self_attn
    # one memory: nothing is kept twice
    assert (
        block.q.weight.untyped_storage().data_ptr() == block.v.weight.untyped_storage().data_ptr()
    )


@pytest.mark.long
@pytest.mark.slow
def test_a_packed_student_says_the_same_through_kernels(student: CausalStudent) -> None:
    wanted = stream(student, 5)
    with use_backend("triton"):
        apart = stream(student, 5)
        student.pack()
        made = stream(student, 5)
    # float32: products of another shape may be summed in another order
    torch.testing.assert_close(made, apart, atol=2e-6, rtol=2e-6)
    torch.testing.assert_close(made, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_other_layers_than_plain_ones_stay_as_they_are(student: CausalStudent) -> None:
    class Other(nn.Linear):
        pass

    attention = student.wan_blocks()[0].self_attn
    attention.k = Other(SHAPE.dim, SHAPE.dim).requires_grad_(False)
    attention.pack()
    with use_backend("triton"):
        made = stream(student, 2)
    torch.testing.assert_close(made, stream(student, 2), atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_rows_at_different_places_are_one_batch(student: CausalStudent) -> None:
    """One stream writes its sink, which takes several kernels; the other is long under way."""
    text = context(student)
    outputs: list[Tensor] = []
    for backend in ("sdpa", "triton"):
        torch.manual_seed(2)
        young, old = (student.new_cache(CACHE, height=4, width=6) for _ in range(2))
        with use_backend(backend):
            for _ in range(4):
                student(torch.randn(1, 1, 3, 4, 6), torch.zeros(1, 1), text, old)
                old.advance(1)
            both = torch.randn(2, 1, 3, 4, 6)
            times = torch.full((2, 1), 500.0)
            outputs.append(student.forward_rows(both, times, [text, text], [young, old]))
    torch.testing.assert_close(outputs[1], outputs[0], atol=1e-5, rtol=1e-5)


def test_gelu_is_the_tanh_form(student: CausalStudent) -> None:
    del student
    linear, x = nn.Linear(6, 9).requires_grad_(False), torch.randn(2, 5, 6)
    wanted = nn.GELU(approximate="tanh")(linear(x))
    torch.testing.assert_close(linear_gelu(x, linear), wanted, atol=0.0, rtol=0.0)


def test_gelu_is_part_of_the_product_on_a_gpu() -> None:
    linear = nn.Linear(6, 9, device="meta", dtype=torch.bfloat16)
    x = torch.empty(2, 5, 6, device="meta", dtype=torch.bfloat16)
    with counted((9, 0)) as count:
        made = linear_gelu(x, linear)
    assert made.shape == (2, 5, 9)
    assert count.operators == {"_addmm_activation": 1}
