"""The attention in use against its float64 definition."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from rollcast.kernels import dispatch
from rollcast.kernels.dense_attention.providers import Provider
from rollcast.kernels.dense_attention.reference import attention_ref
from rollcast.kernels.dense_attention.tuning import AttentionShape
from rollcast.kernels.dispatch import (
    Backend,
    attention,
    attention_backend,
    backend_for,
    hold_no_races,
    modulate,
    plain_provider,
    settle_attention,
    use_backend,
    use_provider,
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
        ((9, 0), torch.bfloat16, 128, "triton", "triton", "cudnn"),
        ((9, 0), torch.float16, 64, "triton", "triton", "cudnn"),
        ((10, 0), torch.bfloat16, 128, "triton", "triton", "cudnn"),
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
    plain: Provider,
) -> None:
    """By tensors that only say that they are on one."""
    monkeypatch.setattr(dispatch, "_TRITON", True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    with FakeTensorMode():
        query = torch.empty(1, 2, 7, dim, device="cuda", dtype=dtype)
    assert backend_for(query) == passes
    assert attention_backend(query) == by_list
    assert plain_provider(query, query) == plain
    with use_backend("triton"):
        assert attention_backend(query) == plain_provider(query, query) == "triton"
    query.requires_grad_()
    assert backend_for(query) == attention_backend(query) == "sdpa"
    assert plain_provider(query, query) == "sdpa"


@pytest.fixture
def hopper(monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """A GPU that tensors only say they are on; nothing is settled on it."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a Hopper")
    monkeypatch.setattr(dispatch, "_settled", {})
    monkeypatch.setattr(dispatch, "_races", True)
    return torch.device("cuda")


SHAPE = AttentionShape(12, 12, 128, 4680, 14040, torch.bfloat16)


def provider_of(keys: int, heads: int = 12) -> Provider:
    query, key = (
        torch.empty(1, heads, n, 128, dtype=torch.bfloat16, device="cuda") for n in (4680, keys)
    )
    return plain_provider(query, key)


def test_what_was_settled_stays_and_is_for_large_calls_alone(
    hopper: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[Provider] = ["triton", "sdpa"]
    monkeypatch.setattr(dispatch, "tuned", lambda *args, **_: answers.pop(0))
    with FakeTensorMode():
        assert provider_of(14040) == "cudnn"
        assert settle_attention(SHAPE, hopper) == "triton"
        assert settle_attention(replace(SHAPE, keys=9000), hopper) == "triton"
        assert [provider_of(n) for n in (14040, 4680, 512)] == ["triton", "triton", "cudnn"]
        assert provider_of(14040, heads=24) == "cudnn"
        with use_provider("flash3"):
            assert provider_of(512) == "flash3"
    assert answers == ["sdpa"]


def test_stages_on_several_machines_hold_no_races(hopper: torch.device) -> None:
    hold_no_races()
    with FakeTensorMode():
        assert settle_attention(SHAPE, hopper) == "cudnn"
        assert provider_of(14040) == "cudnn"


def test_what_tensor_cores_have_no_kernel_for_is_not_raced(hopper: torch.device) -> None:
    with FakeTensorMode():
        assert settle_attention(replace(SHAPE, dtype=torch.float32), hopper) == "sdpa"
        assert settle_attention(replace(SHAPE, head_dim=384), hopper) == "sdpa"


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


@pytest.mark.slow
def test_the_student_imports_without_triton() -> None:
    """There is no Triton on macOS and Windows."""
    code = "import sys; sys.modules['triton'] = None; import rollcast.models.student.causal_student"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=50)
