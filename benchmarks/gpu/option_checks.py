"""Kernels of options that are off by default, checked as those of `kernel_checks`."""

from __future__ import annotations

import math
from functools import partial

import torch

from ...kernels.block_sparse.block_pool import BlockMeans, pool_blocks
from ...kernels.block_sparse.block_scores import block_means
from ...kernels.block_sparse.block_select import most_blocks
from ...kernels.block_sparse.reference import choose_blocks_ref
from ...kernels.block_sparse.select_blocks import select_blocks
from ...kernels.block_sparse.sparse_policy import SparseKind, SparsePolicy
from ...kernels.dispatch import row_scaled_linear
from ...kernels.int8_attention.int8_attention import int8_attention
from ...kernels.int8_attention.reference import int8_attention_ref
from ...kernels.ring_plan import Span
from ...kernels.row_scale.reference import (
    E4M3,
    quantise_rows_ref,
    row_scaled_linear_ref,
)
from ...kernels.row_scale.row_scale import quantise_rows
from .kernel_checks import LIMITS, Check, Found, Grid, poisoned_outputs, relative

# Of a row's attention: what the best choice keeps and this one does not, where means are rounded.
_LOST = {torch.bfloat16: 5e-3, torch.float16: 1e-3, torch.float32: 1e-5}
_FLOAT8_FROM = (8, 9)


def option_checks(*, bfloat16: bool = True) -> dict[str, Check]:
    """Every check by name; without `bfloat16` those that Triton's interpreter can run."""
    half = torch.bfloat16 if bfloat16 else torch.float16
    checks: dict[str, Check] = {}
    for dtype in dict.fromkeys((half, torch.float16, torch.float32)):
        kind = str(dtype).removeprefix("torch.")
        checks[f"choice of blocks, adaptive, {kind}"] = partial(
            _choice, dtype=dtype, heads=12, shared=12, kind="adaptive"
        )
        checks[f"choice of blocks, number, shared heads, {kind}"] = partial(
            _choice, dtype=dtype, heads=6, shared=2, kind="top_k"
        )
    for dtype in dict.fromkeys((half, torch.float16)):
        kind = str(dtype).removeprefix("torch.")
        for heads, shared, dim in ((12, 12, 128), (12, 4, 128), (40, 40, 128), (4, 4, 64)):
            checks[f"8-bit attention, {heads} / {shared} heads of {dim}, {kind}"] = partial(
                _int8, dtype=dtype, heads=heads, shared=shared, dim=dim
            )
    for width in (1536, 8960):
        for gelu in (False, True):
            name = f"float8 rows{', GELU' if gelu else ''}, width {width}"
            checks[name] = partial(_rows, dtype=half, width=width, gelu=gelu)
    checks["float8 linear layer"] = partial(_linear, dtype=half, width=1536)
    return checks


def _choice(grid: Grid, *, dtype: torch.dtype, heads: int, shared: int, kind: SparseKind) -> Found:
    """Blocks pooled where a ring was written, twice; a cache with NaN behind what lives."""
    policy = SparsePolicy(kind, energy=0.9, max_density=0.3)
    queries, keys = grid.tokens + 37, 2 * grid.tokens + 91
    query = torch.randn(1, queries, heads, 128, device=grid.device).to(dtype).transpose(1, 2)
    cache = torch.randn(2, 1, shared, keys + 70, 128, device=grid.device).to(dtype)
    cache[:, :, :, keys:] = math.nan
    key, value = cache[:, :, :, :keys]
    means = BlockMeans.empty(cache[0], policy.key_block, values=True)
    pool_blocks(key, value, means, (Span(0, keys),))
    changed = Span(keys - 50, 50), Span(5, 20)
    for span in changed:
        key[:, :, span.start : span.start + span.tokens] += 1.0
    pool_blocks(key, value, means, changed)
    with poisoned_outputs():
        blocks, rest = select_blocks(query, means, keys, policy)
    wanted, scores = choose_blocks_ref(query, key, policy)
    counts = (blocks.ends - blocks.starts).view_as(blocks.mask[..., 0])
    listed = blocks.mask.sum(-1).equal(counts.long())
    most = most_blocks(blocks.mask.shape[-1], policy.max_density)
    # As much as was asked for is enough, by whatever blocks.
    enough = policy.energy if kind == "adaptive" else 1.0
    needed = (scores * wanted).sum(-1).clamp_max(enough)
    lost = (needed - (scores * blocks.mask).sum(-1)).amax()
    pooled = means.key[:, :, : blocks.mask.shape[-1]]
    good = listed and rest is not None and bool(blocks.mask.sum(-1).amax() <= most)
    close = relative(pooled, block_means(key.double(), policy.key_block)) <= LIMITS[dtype]
    return Found(float(lost) if good and close else math.nan, _LOST[dtype])


def _int8(grid: Grid, *, dtype: torch.dtype, heads: int, shared: int, dim: int) -> Found:
    """Keys far from zero, a last block of keys and one of queries that are short."""
    queries, keys = grid.tokens + 37, 3 * grid.tokens + 11
    query = torch.randn(1, queries, heads, dim, device=grid.device).to(dtype).transpose(1, 2)
    cache = torch.randn(2, 1, shared, keys + 70, dim, device=grid.device)
    cache[0] += 4 * torch.randn(1, shared, 1, dim, device=grid.device)
    cache = cache.to(dtype)
    cache[:, :, :, keys:] = math.nan
    key, value = cache[:, :, :, :keys]
    with poisoned_outputs():
        made = int8_attention(query, key, value)
    group, errors = heads // shared, [0.0]
    for head in range(heads):
        own = slice(head // group, head // group + 1)
        wanted = int8_attention_ref(query[:, head : head + 1], key[:, own], value[:, own])
        errors.append(relative(made[:, head], wanted[:, 0]))
    return Found(math.nan if any(map(math.isnan, errors)) else max(errors), LIMITS[dtype])


def _rows(grid: Grid, *, dtype: torch.dtype, width: int, gelu: bool) -> Found:
    """What differs is a value whose quotient lies at a half; none does without GELU."""
    if not _has_float8(grid):
        return Found(0.0, 0.0)
    x = torch.randn(grid.tokens, 2 * width, device=grid.device).to(dtype)[:, width:]
    made, scale = quantise_rows(x, gelu=gelu)
    wanted, wanted_scale = quantise_rows_ref(x, gelu=gelu)
    error = relative(made.float() * scale, wanted.float() * wanted_scale)
    return Found(error, 5e-3 if gelu else 1e-4)


def _linear(grid: Grid, *, dtype: torch.dtype, width: int) -> Found:
    if not _has_float8(grid):
        return Found(0.0, 0.0)
    x = torch.randn(1, grid.tokens, width, device=grid.device).to(dtype)
    weight, scale = quantise_rows_ref(torch.randn(width, width, device=grid.device))
    bias = torch.randn(width, device=grid.device).to(dtype)
    with torch.no_grad():
        made = row_scaled_linear(x, weight, scale.flatten(), bias)
    assert weight.dtype == E4M3
    return Found(relative(made, row_scaled_linear_ref(x, weight, scale.flatten(), bias)), 5e-3)


def _has_float8(grid: Grid) -> bool:
    """Whether the device has products of it; elsewhere the option is refused."""
    if grid.device.type != "cuda":
        return True
    return torch.cuda.get_device_capability(grid.device) >= _FLOAT8_FROM
