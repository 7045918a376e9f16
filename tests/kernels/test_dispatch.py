"""The attention in use against its float64 definition."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from rollcast.kernels import dispatch
from rollcast.kernels.dense_attention.reference import attention_ref
from rollcast.kernels.dispatch import (
    Backend,
    attention,
    attention_backend,
    backend_for,
    modulate,
    plain_attention_backend,
    use_backend,
)


@pytest.mark.parametrize("grad", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("masked", [False, True], ids=["all", "masked"])
@pytest.mark.parametrize(
    ("queries", "keys", "dim"), [(64, 320, 32), (7, 13, 10), (1, 1, 8), (60, 60, 48)]
)
def test_equals_the_definition(queries: int, keys: int, dim: int, masked: bool, grad: bool) -> None:
    torch.manual_seed(0)
    query = torch.randn(2, 3, queries, dim, requires_grad=grad)
    key, value = torch.randn(2, 3, keys, dim), torch.randn(2, 3, keys, dim)
    mask = None
    if masked:
        mask = torch.zeros(queries, keys).masked_fill(torch.rand(queries, keys) < 0.4, -torch.inf)
        mask[:, 0] = 0.0
    made = attention(query, key, value, mask=mask, scale=0.3)
    # float32 softmax over at most 320 terms of size 1: a few ulp.
    torch.testing.assert_close(
        made, attention_ref(query, key, value, mask=mask, scale=0.3), atol=2e-6, rtol=1e-5
    )


def test_gradients_equal_the_definition() -> None:
    torch.manual_seed(1)
    made, wanted = (
        [torch.randn(1, 2, 9, 16, requires_grad=True) for _ in range(3)] for _ in range(2)
    )
    for tensor, source in zip(wanted, made, strict=True):
        tensor.data.copy_(source.data)
    attention(*made).square().sum().backward()
    attention_ref(*wanted).square().sum().backward()
    for tensor, source in zip(wanted, made, strict=True):
        torch.testing.assert_close(source.grad, tensor.grad, atol=1e-5, rtol=1e-5)


def test_bfloat16_is_close() -> None:
    torch.manual_seed(2)
    query, key, value = (torch.randn(1, 2, 33, 32, dtype=torch.bfloat16) for _ in range(3))
    made = attention(query, key, value).double()
    wanted = attention_ref(query.double(), key.double(), value.double())
    # 8 bits of mantissa.
    assert (made - wanted).norm() / wanted.norm() < 1e-2


def test_a_cpu_gets_torch_and_a_forced_backend_ends_with_its_context() -> None:
    x = torch.zeros(1)
    assert backend_for(x) == "sdpa"
    with use_backend("reference"):
        with use_backend("triton"):
            assert backend_for(x) == "triton"
        assert backend_for(x) == "reference"
    assert backend_for(x) == "sdpa"


@pytest.mark.parametrize(
    ("capability", "dtype", "dim", "passes", "by_list", "plain"),
    [
        ((9, 0), torch.bfloat16, 128, "triton", "triton", "sdpa"),
        ((9, 0), torch.float16, 64, "triton", "triton", "sdpa"),
        ((10, 0), torch.bfloat16, 128, "triton", "triton", "sdpa"),
        ((8, 0), torch.bfloat16, 128, "triton", "triton", "triton"),
        ((12, 0), torch.float16, 128, "triton", "triton", "triton"),
        # the pocket student, the Wan VAE, a reference
        ((9, 0), torch.float32, 32, "triton", "sdpa", "sdpa"),
        ((9, 0), torch.bfloat16, 384, "triton", "sdpa", "sdpa"),
        ((8, 0), torch.float16, 384, "triton", "sdpa", "sdpa"),
        ((9, 0), torch.float64, 128, "sdpa", "sdpa", "sdpa"),
    ],
)
def test_a_gpu_gets_what_fits(
    monkeypatch: pytest.MonkeyPatch,
    capability: tuple[int, int],
    dtype: torch.dtype,
    dim: int,
    passes: Backend,
    by_list: Backend,
    plain: Backend,
) -> None:
    """By tensors that only say that they are on one."""
    monkeypatch.setattr(dispatch, "_TRITON", True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    with FakeTensorMode():
        query = torch.empty(1, 2, 7, dim, device="cuda", dtype=dtype)
    assert backend_for(query) == passes
    assert attention_backend(query) == by_list
    assert plain_attention_backend(query) == plain
    with use_backend("triton"):
        assert attention_backend(query) == plain_attention_backend(query) == "triton"
    query.requires_grad_()
    assert backend_for(query) == attention_backend(query) == plain_attention_backend(query)
    assert backend_for(query) == "sdpa"


@pytest.mark.parametrize("backend", ["triton", "sdpa", "reference"])
def test_columns_may_lie_behind_one_another(device: torch.device, backend: Backend) -> None:
    """As in the Wan VAE, whose heads are channels of pictures."""
    if backend == "triton":
        pytest.importorskip("triton")
    torch.manual_seed(4)
    query, key, value = torch.randn(3, 1, 2, 16, 21, device=device).transpose(3, 4).unbind(0)
    with use_backend(backend):
        made = attention(query, key, value)
    torch.testing.assert_close(made, attention_ref(query, key, value), atol=5e-6, rtol=1e-5)


def test_torch_compile_keeps_it_in_one_graph() -> None:
    query, key, value = torch.randn(3, 1, 2, 7, 16).unbind(0)
    compiled = torch.compile(attention, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(query, key, value), attention(query, key, value))


@pytest.mark.parametrize("backend", ["triton", "reference"])
def test_backends_agree(device: torch.device, backend: Backend) -> None:
    if backend == "triton":
        pytest.importorskip("triton")
    torch.manual_seed(3)
    query, key, value = torch.randn(3, 2, 3, 21, 24, device=device).unbind(0)
    shapes = ((2, 6, 20), (2, 3, 1, 20), (2, 3, 1, 20))
    x, shift, scale = (torch.randn(shape, device=device) for shape in shapes)
    wanted = attention(query, key[:, :, :13], value[:, :, :13]), modulate(x, shift, scale, 1e-6)
    with use_backend(backend):
        made = attention(query, key[:, :, :13], value[:, :, :13]), modulate(x, shift, scale, 1e-6)
    torch.testing.assert_close(made, wanted, atol=5e-6, rtol=1e-5)


def test_xformers_gets_heads_behind_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in that is itself a plain attention in xformers' layout, [B, N, H, D]."""
    ops = ModuleType("xformers.ops")

    def plain(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, scale: float):
        parts = (x.transpose(1, 2) for x in (query, key, value))
        return attention_ref(*parts, scale=scale).transpose(1, 2)

    monkeypatch.setattr(ops, "memory_efficient_attention", plain, raising=False)
    monkeypatch.setitem(sys.modules, "xformers", ModuleType("xformers"))
    monkeypatch.setitem(sys.modules, "xformers.ops", ops)
    query, key, value = torch.randn(3, 1, 2, 7, 8).unbind(0)
    with use_backend("xformers"):
        made = attention(query, key[:, :, :5], value[:, :, :5], scale=0.3)
    wanted = attention_ref(query, key[:, :, :5], value[:, :, :5], scale=0.3)
    torch.testing.assert_close(made, wanted)


def test_the_student_imports_without_triton() -> None:
    """There is no Triton on macOS and Windows."""
    code = "import sys; sys.modules['triton'] = None; import rollcast.models.student.causal_student"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=50)
