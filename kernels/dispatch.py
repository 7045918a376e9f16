"""Which kernels run: one place decides, from where a tensor is and what is installed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.util import find_spec
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from .axis_rotations import AxisRotations
from .block_sparse.block_sparse_torch import block_sparse_torch
from .block_sparse.choose_blocks import choose_blocks
from .block_sparse.global_branch import GlobalBranch
from .block_sparse.reference import block_sparse_ref
from .block_sparse.sparse_policy import SparsePolicy
from .dense_attention.reference import attention_ref
from .ring_plan import FrameWrite, SinkFold, Span

Backend = Literal["triton", "xformers", "sdpa", "reference"]
_forced: ContextVar[Backend | None] = ContextVar("forced_backend", default=None)

# Up to this many keys two plain matrix products have the faster backward pass on a CPU: measured in
# bfloat16 on one thread, 8 ms against 36 ms (448 queries, 16 keys) and 20 ms against 82 ms (seven
# chunks of 64 queries with up to 320 keys). More keys are left to the fused kernel to save memory.
_FEW_KEYS = 1024

# On a CPU gathering more than this share of the blocks costs more than attention to all of them.
_DENSE_FROM = 0.5

# Turning raw keys inside attention is done again for every block of queries, before it once. By a
# count of instructions and bytes for an H100 (docs/kernels.md; an estimate, no timing) a pass of
# torch over the window costs as much as turning it in the kernel for nine blocks of 128 queries.
_TURN_IN_KERNEL_QUERIES = 1024


@contextmanager
def use_backend(backend: Backend) -> Iterator[None]:
    """Force `backend` within this context, for tests and benchmarks.

    "triton" on CPU tensors runs in Triton's interpreter, which must be on (TRITON_INTERPRET=1).
    """
    token = _forced.set(backend)
    try:
        yield
    finally:
        _forced.reset(token)


def backend_for(tensor: Tensor) -> Backend:
    """The backend for operations on `tensor`: forced, or the best one on its device.

    On a CPU that is torch's own fused attention; Triton and xformers are for CUDA. Triton's kernels
    have no backward pass, so gradients go through torch.
    """
    forced = _forced.get()
    if forced is not None:
        return forced
    if not tensor.is_cuda or (torch.is_grad_enabled() and tensor.requires_grad):
        return "sdpa"
    if _installed("triton"):
        return "triton"
    return "xformers" if _installed("xformers") else "sdpa"


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    mask: Tensor | None = None,
    scale: float | None = None,
) -> Tensor:
    """softmax(query key^T scale + mask) value, [B, H, N, D].

    As `attention_ref.attention_ref`, by the backend of `query`. Ring caches need no mask: their
    live keys are one contiguous range and softmax does not care for their order.
    """
    backend = backend_for(query)
    if backend == "reference":
        return attention_ref(query, key, value, mask=mask, scale=scale)
    if backend == "triton" and mask is None:
        from .ring_attention.ring_attention import ring_attention

        whole = (Span(0, key.shape[2]),)
        return ring_attention(query, key, value, whole, scale=scale)[0]
    if backend == "xformers" and mask is None:
        from xformers.ops import memory_efficient_attention  # pyright: ignore[reportMissingImports]

        heads_last = (x.transpose(1, 2) for x in (query, key, value))
        return memory_efficient_attention(*heads_last, scale=scale).transpose(1, 2)
    return _torch_attention(query, key, value, mask, scale)


def sparse_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    policy: SparsePolicy,
    *,
    scale: float | None = None,
    near: Tensor | None = None,
) -> Tensor:
    """Attention [B, H, N, D] to the blocks that `policy` chooses, by the backend of `query`.

    `query` [B, H, N, D], `key` and `value` [B, Hkv, M, D]. On a CPU, where the policy chooses half
    of the blocks or more, to all of them: that is faster. Raises ValueError as `choose_blocks`.
    """
    backend = backend_for(query)
    on_cpu = query.device.type == "cpu" and backend in ("sdpa", "xformers")
    blocks = choose_blocks(query, key, policy, scale=scale, near=near)
    if on_cpu and float(blocks.density) >= _DENSE_FROM:
        return _torch_attention(query, key, value, None, scale)
    rest = GlobalBranch.of(key, value, blocks) if policy.global_branch else None
    if backend == "triton":
        from .block_sparse.block_sparse import block_sparse

        return block_sparse(query, key, value, blocks, rest=rest, scale=scale)[0]
    if backend == "reference":
        return block_sparse_ref(query, key, value, blocks, rest=rest, scale=scale)[0].to(
            query.dtype
        )
    return block_sparse_torch(query, key, value, blocks, rest=rest, scale=scale)[0]


def turns_in_kernel(tensor: Tensor, queries: int) -> bool:
    """Whether attention of so many queries to a cache like `tensor` turns raw keys as it loads."""
    return backend_for(tensor) == "triton" and queries <= _TURN_IN_KERNEL_QUERIES


def norm_rope_write(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    weight_query: Tensor,
    weight_key: Tensor,
    cache_key: Tensor,
    cache_value: Tensor,
    *,
    rotation: AxisRotations,
    place: int,
    writes: Sequence[FrameWrite],
    rotate_key: bool,
    eps: float,
) -> Tensor:
    """As `norm_rope_write.norm_rope_write`, for a backend that is "triton"."""
    from .norm_rope_write.norm_rope_write import norm_rope_write as fused

    return fused(
        query, key, value, weight_query, weight_key, cache_key, cache_value,
        rotation=rotation, place=place, writes=writes, rotate_key=rotate_key, eps=eps,
    )  # fmt: skip


def ring_attention(
    query: Tensor, key: Tensor, value: Tensor, spans: Sequence[Span], rotation: AxisRotations
) -> Tensor:
    """Attention to raw keys that are turned in the kernel; for a backend that is "triton"."""
    from .ring_attention.ring_attention import ring_attention as fused

    return fused(query, key, value, spans, rotation=rotation)[0]


def ema_sink(
    key: Tensor,
    value: Tensor,
    new_key: Tensor,
    new_value: Tensor,
    *,
    fold: SinkFold,
    writes: Sequence[FrameWrite],
    frame_tokens: int,
    shadow_key: Tensor | None,
    shadow_value: Tensor | None,
) -> None:
    """As `ema_sink.ema_sink`, for a backend that is "triton"."""
    from .ema_sink.ema_sink import ema_sink as fused

    fused(
        key, value, new_key, new_value, fold=fold, writes=writes, frame_tokens=frame_tokens,
        shadow_key=shadow_key, shadow_value=shadow_value,
    )  # fmt: skip


def modulate(x: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Tensor:
    """norm(x) * (1 + scale) + shift; `x` [B, F * P, d], the others [B, F, 1, d]."""
    if backend_for(x) == "triton":
        from .modulation.modulation import modulate as fused

        return fused(x, shift, scale, eps)
    normed = F.layer_norm(x, x.shape[-1:], eps=eps).unflatten(1, (shift.shape[1], -1))
    return torch.addcmul(shift, normed, 1 + scale).flatten(1, 2)


def _torch_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float | None
) -> Tensor:
    training = torch.is_grad_enabled() and query.requires_grad
    if training and mask is None and query.device.type == "cpu" and key.shape[2] <= _FEW_KEYS:
        factor = float(query.shape[-1]) ** -0.5 if scale is None else scale
        return ((query * factor) @ key.transpose(2, 3)).softmax(-1) @ value
    shared = query.shape[1] != key.shape[1]
    return F.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, scale=scale, enable_gqa=shared
    )


@cache
def _installed(package: str) -> bool:
    return find_spec(package) is not None
