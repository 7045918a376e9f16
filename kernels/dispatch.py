"""Which kernels run: one place decides, by device, dtype and head size, and what is installed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .axis_rotations import AxisRotations
from .block_sparse.block_sparse_masked import block_sparse_masked
from .block_sparse.block_sparse_torch import block_sparse_torch
from .block_sparse.choose_blocks import choose_blocks
from .block_sparse.global_branch import GlobalBranch
from .block_sparse.reference import block_sparse_ref
from .block_sparse.sparse_policy import SparsePolicy
from .counter_noise.reference import counter_noise_ref
from .dense_attention.choices import ChoiceFile, own_choices
from .dense_attention.providers import Provider, attention_by, cudnn_takes
from .dense_attention.reference import attention_ref
from .dense_attention.tuning import AttentionShape, Clock, tuned
from .gpu import Capability, gpu_of, meta_stands_for, on_gpu
from .int8_attention.reference import attention_of_integers
from .ring_plan import FrameWrite, SinkFold, Span
from .row_scale.reference import quantise_rows_ref
from .tile.tile_sizes import MAX_HEAD_DIM, TENSOR_CORE_TYPES
from .yuv420.yuv420_torch import yuv420_torch

if TYPE_CHECKING:
    from .block_sparse.block_pool import BlockMeans

Backend = Literal["triton", "sdpa", "reference"]

# A plain variable and constants, because torch.compile reads these without leaving its graph. Asked
# for on every call, a context variable or a search for packages would split it.
_forced: Backend | None = None
_forced_provider: Provider | None = None
_TRITON = find_spec("triton") is not None
# What was settled for this process, for attention alike in type, heads and their size: it stays.
_settled: dict[tuple[torch.dtype, int, int, int], Provider] = {}
_races = True

# Up to this many keys two plain matrix products have the faster backward pass on a CPU: measured in
# bfloat16 on one thread, 8 ms against 36 ms (448 queries, 16 keys) and 20 ms against 82 ms (seven
# chunks of 64 queries with up to 320 keys). More keys are left to the fused kernel to save memory.
_FEW_KEYS = 1024

# So many keys make attention large: a text has 512, a chunk of video sees thousands.
_LARGE = 1024

# On a CPU gathering more than this share of the blocks costs more than attention to all of them.
_DENSE_FROM = 0.5

_GELU = 2 * math.sqrt(2 / math.pi)


@contextmanager
def use_backend(backend: Backend) -> Iterator[None]:
    """Force `backend` in the whole process within this context, for tests and benchmarks.

    "triton" on CPU tensors runs in Triton's interpreter, which must be on (TRITON_INTERPRET=1).
    """
    global _forced
    before, _forced = _forced, backend
    try:
        yield
    finally:
        _forced = before


@contextmanager
def use_provider(provider: Provider) -> Iterator[None]:
    """Plain attention on a GPU by `provider` in the whole process, for tests and benchmarks."""
    global _forced_provider
    before, _forced_provider = _forced_provider, provider
    try:
        yield
    finally:
        _forced_provider = before


def backend_for(tensor: Tensor) -> Backend:
    """The backend for passes over tokens like `tensor`: forced, or the best one on its device.

    On a CPU that is torch; Triton is for CUDA. Triton's kernels have no backward pass, so gradients
    go through torch; they compute in float32, so float64 does as well.
    """
    if _forced is not None:
        return _forced
    return "triton" if _TRITON and not _for_torch_alone(tensor) else "sdpa"


def attention_backend(query: Tensor) -> Backend:
    """The backend for attention of `query` [B, H, N, D] to the blocks of a list.

    As `backend_for`, but torch for dtypes and heads that Triton's kernels are not made for.
    """
    backend = backend_for(query)
    return "sdpa" if backend == "triton" and _forced is None and not _fits(query) else backend


def plain_provider(query: Tensor, key: Tensor) -> Provider:
    """Who computes attention of `query` [B, H, N, D] to `key` [B, Hkv, M, D] as it lies.

    Torch ("sdpa") on a CPU, for gradients, and for types and heads that tensor cores have no kernel
    for. Else what `settle_attention` found for a model's large calls; without that, and for small
    ones, cuDNN where it has kernels for the device, and Triton's on other GPUs.
    """
    if _forced is not None:
        return "triton" if _forced == "triton" else "sdpa"
    if _for_torch_alone(query) or not _fits(query):
        return "sdpa"
    if _forced_provider is not None:
        return _forced_provider
    if key.shape[2] >= _LARGE and not query.is_meta:
        heads = query.dtype, query.shape[1], key.shape[1], query.shape[3]
        if heads in _settled:
            return _settled[heads]
    return _usual_provider(query)


def settle_attention(
    shape: AttentionShape,
    device: torch.device,
    *,
    file: ChoiceFile | None = None,
    clock: Clock | None = None,
) -> Provider:
    """Find the fastest provider for a model's largest calls, for good: before its first stream.

    By a race of a second or so, or as an earlier one came out (`tuning.tuned`). A process asks once
    for attention alike in type and heads; who asks again is told the same.
    """
    heads = shape.dtype, shape.heads, shape.shared, shape.head_dim
    if heads not in _settled:
        query = torch.empty(1, shape.heads, 1, shape.head_dim, dtype=shape.dtype, device=device)
        usual = plain_provider(query, query)
        if not _races or not _fits(query):
            return usual
        _settled[heads] = tuned(shape, device, usual, file or own_choices(), clock=clock)
    return _settled[heads]


def hold_no_races() -> None:
    """From here on the usual provider computes plain attention in this process.

    For stages on several machines: their races could end differently, and their stream has to be
    the same wherever its steps are made.
    """
    global _races
    _races = False
    _settled.clear()


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
    query, key, value = (_with_whole_rows(x) for x in (query, key, value))
    if _forced == "reference":
        return attention_ref(query, key, value, mask=mask, scale=scale)
    provider = "sdpa" if mask is not None else plain_provider(query, key)
    if provider == "cudnn" and not cudnn_takes(query, key, value):
        provider = "sdpa"
    if provider == "sdpa":
        return _torch_attention(query, key, value, mask, scale)
    return attention_by(provider, query, key, value, scale)


def normed_attention(
    query: Tensor, weight: Tensor, eps: float, *seen: tuple[Tensor, Tensor]
) -> Tensor:
    """Attention [B, N, H * D] of queries that are normed first, to keys and values of `seen`.

    `query` [B, N, H * D] as projected, its `rms_norm` with `weight` [H * D]; keys and values
    [B, H, M, D], without mask. The results for several are added up. Where Triton computes, the
    norm is part of its attention.
    """
    heads = query.unflatten(2, (seen[0][0].shape[1], -1)).transpose(1, 2)
    if attention_backend(heads) == "triton":
        from .normed_attention.normed_attention import normed_attention as fused

        whole = query if query.stride(2) == 1 else query.contiguous()
        parts = [
            fused(whole, weight, _with_whole_rows(key), _with_whole_rows(value), eps)
            for key, value in seen
        ]
        return sum(parts[1:], start=parts[0])
    normed = rms_norm(query, weight, eps).unflatten(2, heads.shape[1::2]).transpose(1, 2)
    parts = [attention(normed, key, value) for key, value in seen]
    return sum(parts[1:], start=parts[0]).transpose(1, 2).flatten(2)


def int8_attention(
    query: Tensor, key: Tensor, value: Tensor, *, scale: float | None = None
) -> Tensor:
    """Attention [B, H, N, D] with scores of 8-bit integers, by the backend of `query`.

    As `int8_attention.reference`. Without Triton the same values in float32, for measuring what
    they cost in exactness.
    """
    backend = backend_for(query)
    if backend == "triton":
        from .int8_attention.int8_attention import int8_attention as fused

        return fused(query, key, value, scale=scale)
    dtype = torch.float64 if backend == "reference" else torch.float32
    return attention_of_integers(query, key, value, scale=scale, dtype=dtype).to(query.dtype)


def sparse_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    policy: SparsePolicy,
    *,
    scale: float | None = None,
    near: Tensor | None = None,
    means: BlockMeans | None = None,
) -> Tensor:
    """Attention [B, H, N, D] to the blocks that `policy` chooses, by the backend of `query`.

    `query` [B, H, N, D], `key` and `value` [B, Hkv, M, D]. With Triton, where the policy scores by
    means, one kernel scores and chooses; `means` are those of the keys, if they are kept. On a CPU,
    where the policy chooses half of the blocks or more, to all of them: that is faster. Where
    gradients are wanted, and for small blocks, by a mask. Raises ValueError as `choose_blocks`.
    """
    backend = attention_backend(query)
    query, key, value = (_with_whole_rows(x) for x in (query, key, value))
    if _learns(query, key, value) or (policy.small and backend != "reference"):
        return _masked_sparse_attention(query, key, value, policy, scale, near)
    if backend == "triton" and policy.by_means:
        from .block_sparse.block_sparse import block_sparse
        from .block_sparse.select_blocks import select_blocks

        kept = pooled(key, value, policy) if means is None else means
        blocks, rest = select_blocks(query, kept, key.shape[2], policy, scale=scale)
        return block_sparse(query, key, value, blocks, rest=rest, scale=scale)[0]
    on_cpu = query.device.type == "cpu" and backend == "sdpa"
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


def _learns(*tensors: Tensor) -> bool:
    return torch.is_grad_enabled() and any(x.requires_grad for x in tensors)


def _masked_sparse_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    policy: SparsePolicy,
    scale: float | None,
    near: Tensor | None,
) -> Tensor:
    with torch.no_grad():
        blocks = choose_blocks(query, key, policy, scale=scale, near=near)
    if query.device.type == "cpu" and float(blocks.density) >= _DENSE_FROM:
        return _torch_attention(query, key, value, None, scale)
    rest = GlobalBranch.of(key, value, blocks) if policy.global_branch else None
    return block_sparse_masked(query, key, value, blocks, rest=rest, scale=scale)


def pooled(key: Tensor, value: Tensor, policy: SparsePolicy) -> BlockMeans:
    """The means that `policy` scores and adds, of all of `key` and `value`; by Triton."""
    means = empty_means(key, policy)
    pool_blocks(key, value, means, (Span(0, key.shape[2]),))
    return means


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
    turned_key: Tensor | None = None,
) -> Tensor:
    """As `norm_rope_write.norm_rope_write`, for a backend that is "triton"."""
    from .norm_rope_write.norm_rope_write import norm_rope_write as fused

    return fused(
        query, key, value, weight_query, weight_key, cache_key, cache_value,
        rotation=rotation, place=place, writes=writes, rotate_key=rotate_key, eps=eps,
        turned_key=turned_key,
    )  # fmt: skip


def rotate_keys(
    key: Tensor, spans: Sequence[Span], rotation: AxisRotations, *, out: Tensor
) -> None:
    """As `key_rotation.rotate_keys`, for a backend that is "triton"."""
    from .key_rotation.key_rotation import rotate_keys as fused

    fused(key, spans, rotation, out=out)


def turned_keys(key: Tensor, spans: Sequence[Span], rotation: AxisRotations) -> Tensor:
    """A copy of raw keys, rotated by their place in time; for a backend that is "triton".

    `spans` cover all keys.
    """
    from .key_rotation.key_rotation import rotate_keys as rotated

    return rotated(key, spans, rotation)


def pool_blocks(key: Tensor, value: Tensor, means: BlockMeans, spans: Sequence[Span]) -> None:
    """As `block_pool.pool_blocks`, for a backend that is "triton"."""
    from .block_sparse.block_pool import pool_blocks as fused

    fused(key, value, means, spans)


def empty_means(key: Tensor, policy: SparsePolicy) -> BlockMeans:
    """Room for what `policy` wants to know of keys like `key`; for a backend that is "triton"."""
    from .block_sparse.block_pool import BlockMeans

    return BlockMeans.empty(key, policy.key_block, values=policy.global_branch)


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


def normal_noise(
    key: int, stream: int, shape: Sequence[int], device: torch.device, dtype: torch.dtype
) -> Tensor:
    """Normal noise of `shape` by counter: the same bits on any device, in whatever part of a model.

    `key` has up to 63 bits, `stream` up to 31: another of either is other noise.
    """
    out = torch.empty(tuple(shape), dtype=dtype, device=device)
    if backend_for(out) == "triton":
        from .counter_noise.counter_noise import counter_noise

        return counter_noise(key, stream, out)
    drawn = torch.from_numpy(counter_noise_ref(key, stream, out.numel()))
    return out if out.is_meta else out.copy_(drawn.view(out.shape))


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x / sqrt(mean(x^2) + eps) * weight over the last dimension; the norm is made in float32."""
    if backend_for(x) == "triton" and x.dim() == 3:
        from .rms_norm.rms_norm import rms_norm as fused

        return fused(x, weight, eps)
    wide = x.float() if x.dtype != torch.float64 else x
    if _is_batch(x):
        square = torch.linalg.vector_norm(wide, dim=-1, keepdim=True).square_()
        scale = square.mul_(1 / x.shape[-1]).add_(eps).rsqrt_()
        return (wide * scale).to(x.dtype).mul_(weight)
    scale = torch.rsqrt(wide.square().mean(dim=-1, keepdim=True) + eps)
    return (wide * scale).to(x.dtype) * weight


def residual(x: Tensor, branch: Tensor, gate: Tensor | None) -> Tensor:
    """x + gate * branch; `x` and `branch` [B, F * P, d], `gate` [B, F, 1, d], None for one."""
    if gate is None:
        return x + branch
    split = (gate.shape[1], -1)
    return torch.addcmul(x.unflatten(1, split), gate, branch.unflatten(1, split)).flatten(1, 2)


def residual_modulate(
    x: Tensor, branch: Tensor, gate: Tensor | None, shift: Tensor, scale: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """`residual`, and `modulate` of that."""
    if backend_for(x) == "triton":
        from .residual_norm.residual_norm import residual_modulate as fused

        return fused(x, branch, gate, shift, scale, eps)
    x = residual(x, branch, gate)
    return x, modulate(x, shift, scale, eps)


def residual_layer_norm(
    x: Tensor, branch: Tensor, gate: Tensor | None, weight: Tensor, bias: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """`residual`, and a layer norm of that with `weight` and `bias` [d]."""
    if backend_for(x) == "triton":
        from .residual_norm.residual_norm import residual_layer_norm as fused

        return fused(x, branch, gate, weight, bias, eps)
    x = residual(x, branch, gate)
    return x, F.layer_norm(x, x.shape[-1:], weight, bias, eps)


def linear_gelu(x: Tensor, linear: nn.Linear) -> Tensor:
    """The tanh form of GELU of a linear layer, where it can be in the epilogue of its product.

    That is on CUDA, in half precision and for weights as they are; torch's form of it there is the
    tanh one, and on a CPU it is not.
    """
    weight, bias = linear.weight, linear.bias
    plain = type(linear) is nn.Linear and type(weight) in (nn.Parameter, Tensor)
    half = x.dtype in TENSOR_CORE_TYPES and _forced is None and not torch.is_grad_enabled()
    if plain and half and bias is not None and on_gpu(x):
        product = torch.ops.aten._addmm_activation.default
        made = product(bias, x.flatten(0, -2), weight.t(), use_gelu=True)
        return made.unflatten(0, x.shape[:-1])
    made = linear(x)
    return _gelu_by_sigmoid(made) if _is_batch(made) else F.gelu(made, approximate="tanh")


def _is_batch(x: Tensor) -> bool:
    """Whether `x` [B, N, d] is of several streams, made on a CPU.

    Then forms of the same functions are used that take fewer passes over what no cache holds any
    more; for one stream alone those stay that its bits are known by.
    """
    several = x.dim() == 3 and x.shape[0] > 1 and x.device.type == "cpu" and _forced is None
    return several and x.dtype == torch.float32 and not torch.is_grad_enabled()


def _gelu_by_sigmoid(x: Tensor) -> Tensor:
    """The tanh form of GELU: (1 + tanh u) / 2 is sigmoid(2 u), which a CPU has 5 times as fast.

    Within 5e-7 of torch's. Of 8 x 64 x 576 elements on one thread: 0.20 ms in place of 0.49 ms.
    """
    inner = torch.addcmul(x.new_tensor(_GELU), x, x, value=_GELU * 0.044715)
    return inner.mul_(x).sigmoid_().mul_(x)


def row_scaled_linear(
    x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor | None, *, gelu: bool = False
) -> Tensor:
    """A linear layer in float8, `row_scale.reference.row_scaled_linear_ref`, in the dtype of `x`.

    `x` [..., K], `weight` [M, K] e4m3, `scale` [M] float32. On a GPU that has such products, those;
    elsewhere the same values in float32, for measuring what they cost in exactness.
    """
    rows = x.flatten(0, -2)
    if backend_for(x) != "triton" or not on_gpu(x):
        small, of_rows = quantise_rows_ref(rows, gelu=gelu)
        product = F.linear(small.float(), weight.float()) * of_rows * scale
        made = (product if bias is None else product + bias).to(x.dtype)
        return made.unflatten(0, x.shape[:-1])
    from .row_scale.row_scale import quantise_rows

    small, of_rows = quantise_rows(rows, gelu=gelu)
    product = torch.ops.aten._scaled_mm.default
    made = product(small, weight.t(), of_rows, scale[None], bias, out_dtype=x.dtype)
    return made.unflatten(0, x.shape[:-1])


def norm_silu(x: Tensor, weight: Tensor, out: Tensor) -> None:
    """As `norm_silu.norm_silu`, without gradients; `weight` [C, 1, 1, 1]."""
    if backend_for(x) == "triton":
        from .norm_silu.norm_silu import norm_silu as fused

        fused(x, weight, out)
        return
    # one tensor more, beside which the caller holds `x` and `out`
    normed = _unit_channels(x).mul_(x.shape[1] ** 0.5).mul_(weight)
    out.copy_(F.silu(normed, inplace=True))


def sum_norm_silu(x: Tensor, branch: Tensor, weight: Tensor, out: Tensor) -> Tensor:
    """As `sum_norm_silu.sum_norm_silu`, for a backend that is "triton"; `weight` [C, 1, 1, 1]."""
    from .norm_silu.sum_norm_silu import sum_norm_silu as fused

    return fused(x, branch, weight, out)


def _unit_channels(x: Tensor) -> Tensor:
    """`F.normalize` over dimension 1, with never more than one tensor beside `x`.

    In float32, where no square is too coarse, the norm is made of sums: torch's own over a
    dimension that is not the innermost takes 15 to 50 times as long on a CPU.
    """
    if x.dtype != torch.float32:
        return F.normalize(x, dim=1)
    squares = x.square()
    norm = squares.sum(1, keepdim=True).sqrt_().clamp_min_(1e-12)
    return torch.div(x, norm, out=squares)


def modulate(x: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Tensor:
    """norm(x) * (1 + scale) + shift; `x` [B, F * P, d], the others [B, F, 1, d]."""
    if backend_for(x) == "triton":
        from .modulation.modulation import modulate as fused

        return fused(x, shift, scale, eps)
    normed = F.layer_norm(x, x.shape[-1:], eps=eps).unflatten(1, (shift.shape[1], -1))
    return torch.addcmul(shift, normed, 1 + scale).flatten(1, 2)


def yuv420(frames: Tensor) -> Tensor:
    """As `yuv420.yuv420`."""
    if backend_for(frames) == "triton":
        from .yuv420.yuv420 import yuv420 as fused

        return fused(frames)
    return yuv420_torch(frames)


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


def attention_provider(capability: Capability) -> Provider:
    """Who usually computes plain bfloat16 attention on a GPU of that capability: for people."""
    with meta_stands_for(capability):
        query = torch.empty(1, 1, 1, MAX_HEAD_DIM, dtype=torch.bfloat16, device="meta")
        return plain_provider(query, query)


def _usual_provider(query: Tensor) -> Provider:
    """Without a race: cuDNN's on Hopper and Blackwell data centre GPUs, Triton's on others."""
    capability = gpu_of(query)
    if capability is not None and capability[0] in (9, 10):
        return "cudnn"
    return "triton" if _TRITON and capability is not None else "sdpa"


def _for_torch_alone(tensor: Tensor) -> bool:
    """Whether it is on a CPU, wants gradients, or is float64."""
    training = torch.is_grad_enabled() and tensor.requires_grad
    return not on_gpu(tensor) or training or tensor.dtype == torch.float64


def _fits(query: Tensor) -> bool:
    """Whether tensor cores have a kernel for its type and heads."""
    return query.dtype in TENSOR_CORE_TYPES and query.shape[-1] <= MAX_HEAD_DIM


def _with_whole_rows(x: Tensor) -> Tensor:
    """`x` with its last dimension contiguous, which every fused kernel wants."""
    return x if x.stride(-1) == 1 else x.contiguous()
