"""Each provider's call: layouts, shared heads, and what is installed here."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
import torch
from torch import Tensor

from rollcast.kernels.dense_attention import providers
from rollcast.kernels.dense_attention.providers import (
    PROVIDERS,
    Provider,
    attention_by,
    installed,
    versions,
)
from rollcast.kernels.dense_attention.reference import attention_ref


def drawn() -> tuple[Tensor, Tensor, Tensor]:
    """Six heads on two of keys, which are views of a longer cache."""
    torch.manual_seed(5)
    query = torch.randn(1, 7, 6, 16).transpose(1, 2)
    key, value = torch.randn(2, 1, 2, 9, 16)[:, :, :, :5].unbind(0)
    return query, key, value


def wanted(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    wide = (x.repeat_interleave(3, dim=1) for x in (key, value))
    return attention_ref(query, *wide, scale=scale)


@pytest.mark.parametrize("provider", ["sdpa", "triton"])
def test_who_runs_on_a_cpu(provider: Provider) -> None:
    if provider == "triton":
        pytest.importorskip("triton")
    inputs = drawn()
    torch.testing.assert_close(attention_by(provider, *inputs, 0.3), wanted(*inputs, 0.3))


@pytest.mark.parametrize(
    ("provider", "module", "name"),
    [
        ("flash3", "flash_attn_interface", "flash_attn_func"),
        ("flash4", "flash_attn.cute", "flash_attn_func"),
        ("xformers", "xformers.ops", "memory_efficient_attention"),
    ],
)
@pytest.mark.parametrize("with_sums", [False, True])
def test_packages_get_heads_behind_tokens(
    monkeypatch: pytest.MonkeyPatch, provider: Provider, module: str, name: str, with_sums: bool
) -> None:
    """By stand-ins in the layout of those packages, [B, N, H, D]; they run on GPUs alone."""

    def plain(query: Tensor, key: Tensor, value: Tensor, **scale: float):
        (factor,) = scale.values()
        parts = [x.transpose(1, 2) for x in (query, key, value)]
        if provider == "xformers":
            assert key.shape[2] == query.shape[2]
            return attention_ref(*parts, scale=factor).transpose(1, 2)
        out = wanted(parts[0], parts[1], parts[2], factor).transpose(1, 2)
        return (out, None) if with_sums else out

    stand_in = ModuleType(module)
    setattr(stand_in, name, plain)
    monkeypatch.setitem(sys.modules, module.partition(".")[0], ModuleType("package"))
    monkeypatch.setitem(sys.modules, module, stand_in)
    providers._member.cache_clear()
    inputs = drawn()
    try:
        made = attention_by(provider, *inputs, 0.3)
    finally:
        providers._member.cache_clear()
    torch.testing.assert_close(made, wanted(*inputs, 0.3))


def test_torch_is_always_there_and_packages_only_if_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "flash_attn_interface", None)
    found = installed()
    assert {"sdpa", "cudnn"} <= set(found) <= set(PROVIDERS) and "flash3" not in found
    assert versions()["torch"] == torch.__version__.split("+")[0] or versions()["torch"]


def test_a_broken_package_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise OSError(f"{name}: undefined symbol")

    monkeypatch.setattr(providers, "find_spec", broken)
    assert installed() == ("cudnn", "sdpa")


@pytest.mark.filterwarnings("ignore")
def test_the_real_xformers_has_no_operator_for_a_cpu() -> None:
    """It is imported and asked, shared heads and all; what it has is for CUDA."""
    pytest.importorskip("xformers")
    with pytest.raises(NotImplementedError, match="memory_efficient_attention"):
        attention_by("xformers", *drawn())
