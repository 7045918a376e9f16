"""Who can compute plain attention in half precision on an NVIDIA GPU, and how each is called.

Layouts differ: here it is [B, H, N, D], packages of FlashAttention and xformers have heads behind
tokens. All of them take views, as long as elements of a row lie behind one another.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.backends.cuda import SDPAParams, can_use_cudnn_attention

from ..ring_plan import Span

Provider = Literal["triton", "cudnn", "sdpa", "flash3", "flash4", "flex", "xformers"]
"""Our kernel; cuDNN's and whichever torch picks; FlashAttention 3 and 4 by their packages;
FlexAttention's back end that is FlashAttention 4; xformers."""
PROVIDERS: tuple[Provider, ...] = get_args(Provider)

_MODULES: dict[Provider, str] = {
    "triton": "triton",
    "flash3": "flash_attn_interface",
    "flash4": "flash_attn.cute",
    # its back end is that package
    "flex": "flash_attn.cute",
    "xformers": "xformers.ops",
}
_DISTRIBUTIONS = ("torch", "triton", "flash-attn-3", "flash-attn-4", "xformers")

Attention = Callable[[Tensor, Tensor, Tensor, "float | None"], Tensor]


def installed() -> tuple[Provider, ...]:
    """Those whose packages are there; whether they work shows when they are called."""
    return tuple(each for each in PROVIDERS if _is_there(_MODULES.get(each)))


def versions() -> dict[str, str]:
    """Of the packages that have a part in it, and of what torch brings with it."""
    found = {
        "cuda": str(torch.version.cuda),
        "cudnn": str(torch.backends.cudnn.version() if torch.backends.cudnn.is_available() else ""),
    }
    for name in _DISTRIBUTIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = ""
    return found


def attention_by(
    provider: Provider, query: Tensor, key: Tensor, value: Tensor, scale: float | None = None
) -> Tensor:
    """softmax(query key^T scale) value, [B, H, N, D]; `key` and `value` [B, Hkv, M, D].

    Raises whatever the provider does for types, sizes and devices that it does not take:
    RuntimeError, ValueError, ImportError or NotImplementedError among others.
    """
    return _CALLS[provider](query, key, value, scale)


def cudnn_takes(query: Tensor, key: Tensor, value: Tensor) -> bool:
    """Whether cuDNN has a kernel for these; on `meta`, where it cannot be asked, it has."""
    if query.shape[1] != key.shape[1]:
        return False
    if query.is_meta:
        return True
    return can_use_cudnn_attention(SDPAParams(query, key, value, None, 0.0, False, False))


def _by_triton(query: Tensor, key: Tensor, value: Tensor, scale: float | None) -> Tensor:
    from ..ring_attention.ring_attention import ring_attention

    return ring_attention(query, key, value, (Span(0, key.shape[2]),), scale=scale)[0]


def _by_cudnn(query: Tensor, key: Tensor, value: Tensor, scale: float | None) -> Tensor:
    if not cudnn_takes(query, key, value):
        raise NotImplementedError("cuDNN has no kernel for these")
    # What scaled_dot_product_attention calls if cuDNN comes first. Telling it so by sdpa_kernel
    # takes the host 65 microseconds a call.
    fused = torch.ops.aten._scaled_dot_product_cudnn_attention
    return fused(query, key, value, None, False, scale=scale)[0]


def _by_sdpa(query: Tensor, key: Tensor, value: Tensor, scale: float | None) -> Tensor:
    shared = query.shape[1] != key.shape[1]
    return F.scaled_dot_product_attention(query, key, value, scale=scale, enable_gqa=shared)


def _by_flash(
    function: Callable[..., Any], query: Tensor, key: Tensor, value: Tensor, scale: float | None
) -> Tensor:
    made = function(*(x.transpose(1, 2) for x in (query, key, value)), softmax_scale=scale)
    # some versions also give the logarithms of the sums
    out = made[0] if isinstance(made, tuple) else made
    return out.transpose(1, 2)


def _by_flash3(query: Tensor, key: Tensor, value: Tensor, scale: float | None) -> Tensor:
    return _by_flash(_member("flash3", "flash_attn_func"), query, key, value, scale)


def _by_flash4(query: Tensor, key: Tensor, value: Tensor, scale: float | None) -> Tensor:
    return _by_flash(_member("flash4", "flash_attn_func"), query, key, value, scale)


def _by_flex(query: Tensor, key: Tensor, value: Tensor, scale: float | None) -> Tensor:
    shared = query.shape[1] != key.shape[1]
    options = {"BACKEND": "FLASH"}
    return _flex()(query, key, value, scale=scale, enable_gqa=shared, kernel_options=options)


def _by_xformers(query: Tensor, key: Tensor, value: Tensor, scale: float | None) -> Tensor:
    if key.shape[1] != query.shape[1]:
        # it refuses fewer heads of keys than of queries
        group = query.shape[1] // key.shape[1]
        key, value = (x.repeat_interleave(group, dim=1) for x in (key, value))
    heads_last = (x.transpose(1, 2) for x in (query, key, value))
    return _member("xformers", "memory_efficient_attention")(*heads_last, scale=scale).transpose(
        1, 2
    )


_CALLS: dict[Provider, Attention] = {
    "triton": _by_triton,
    "cudnn": _by_cudnn,
    "sdpa": _by_sdpa,
    "flash3": _by_flash3,
    "flash4": _by_flash4,
    "flex": _by_flex,
    "xformers": _by_xformers,
}


@cache
def _member(provider: Provider, name: str) -> Callable[..., Any]:
    return getattr(import_module(_MODULES[provider]), name)


@cache
def _flex() -> Callable[..., Any]:
    from torch.nn.attention.flex_attention import flex_attention

    # for any number of keys: a stream's window grows
    return torch.compile(flex_attention, dynamic=True)


def _is_there(module: str | None) -> bool:
    """Whether a module can be found; its package is imported for that, and may be broken."""
    if module is None:
        return True
    try:
        return find_spec(module) is not None
    except Exception:
        return False
