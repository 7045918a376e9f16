"""Self-attention of a streaming call: to the caches of its rows, by whatever kernels there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from ...kernels.dispatch import attention, int8_attention, sparse_attention, turned_keys
from .blocks import QKVO, Attend, FusedAttend
from .call_positions import CachedCall
from .kv_cache import KVCache
from .rope import rotate

Rows = Sequence[tuple[KVCache, CachedCall]]


def cache_attend(rows: Rows) -> Attend | FusedAttend:
    """Attention of row b to the past in `rows[b]`, or of a whole batch to that of one."""
    if any(call.tables is not None for _, call in rows):
        return _FusedCacheAttend(rows)
    return partial(_attend_rows, rows)


def _attend_rows(rows: Rows, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return _by_row(rows, _attend_cache, query, key, value)


def _attend_cache(
    cache: KVCache, call: CachedCall, query: Tensor, key: Tensor, value: Tensor
) -> Tensor:
    keys, values = cache.update(call, key, value)
    assert call.query is not None
    rotated, policy = rotate(query, call.query), cache.config.sparse
    if call.rotations is not None:
        keys = turned_keys(keys, *call.rotations)
    if policy is not None:
        return sparse_attention(rotated, keys, values, policy, near=call.near)
    return _attend_all(cache, rotated, keys, values)


def _attend_all(cache: KVCache, query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    if cache.config.attention == "int8":
        return int8_attention(query, keys, values)
    return attention(query, keys, values)


class _FusedCacheAttend:
    """The same by the kernel that norms, rotates and stores at once, for rows that it can store."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def attend_projected(self, norms: QKVO, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        weights = norms.norm_q.weight, norms.norm_k.weight
        eps = norms.norm_q.eps

        def one(cache: KVCache, call: CachedCall, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            if call.tables is None:
                return _attend_cache(cache, call, *norms.normed_heads(q, k, v))
            seen = cache.update_projected(call, q, k, v, norms=weights, eps=eps)
            policy = cache.config.sparse
            if policy is None:
                return _attend_all(cache, *seen)
            means = cache.block_means(call, *seen[1:]) if policy.by_means else None
            return sparse_attention(*seen, policy, near=call.near, means=means)

        return _by_row(self._rows, one, query, key, value)


def _by_row(
    rows: Rows,
    attend: Callable[[KVCache, CachedCall, Tensor, Tensor, Tensor], Tensor],
    *inputs: Tensor,
) -> Tensor:
    if len(rows) == 1:
        return attend(*rows[0], *inputs)
    parts = [attend(*row, *(x[b : b + 1] for x in inputs)) for b, row in enumerate(rows)]
    return torch.cat(parts)
