"""`rollcast bench attention`: every backend of attention against dense attention, on this device.

Times are ratios within one run: dense and the other alternate, and the median of their ratios
counts, so that a machine that is busy for a while disturbs both.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...kernels.block_sparse.block_list import BlockList
from ...kernels.block_sparse.block_sparse_torch import block_sparse_torch
from ...kernels.block_sparse.choose_blocks import choose_blocks
from ...kernels.block_sparse.global_branch import GlobalBranch
from ...kernels.block_sparse.sparse_policy import SparsePolicy
from ...kernels.dense_attention.providers import installed
from ...kernels.dense_attention.tuning import AttentionShape, working
from ...kernels.dispatch import attention, backend_for, use_backend, use_provider
from ...kernels.ring_plan import Span
from ..rounding import rounded

SPARSITIES = (0.5, 0.75, 0.9)
_BLOCK = 64


@dataclass(frozen=True, slots=True)
class AttentionBenchOptions:
    """`blocks` blocks of 64 keys, `queries` queries, `heads` heads of `head_dim`.

    The window is a quarter of the keys. `rounds` timings of each pair.
    """

    blocks: int = 40
    queries: int = 192
    heads: int = 6
    head_dim: int = 64
    rounds: int = 31

    def __post_init__(self) -> None:
        if self.blocks < 10 or self.rounds < 1:
            raise ValueError(
                f"blocks {self.blocks}, rounds {self.rounds}; expected at least 10 and 1"
            )


def measure(
    plan: AttentionBenchOptions, device: torch.device, say: Callable[[str], None]
) -> dict[str, Any]:
    """The report: for each backend that runs here how much faster than dense attention it is.

    `window` is attention to a quarter of the keys where they lie, `sparse` to a tenth, a quarter
    and half of their blocks by list; `with_selection` counts the choice of the blocks by their
    means as well. `backends` compares dense attention by each backend.
    """
    torch.manual_seed(0)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    shape = (1, plan.heads, plan.blocks * _BLOCK, plan.head_dim)
    key, value = torch.randn(2, *shape, device=device).to(dtype)
    query = torch.randn(1, plan.heads, plan.queries, plan.head_dim, device=device).to(dtype)
    dense = partial(F.scaled_dot_product_attention, query, key, value)
    compare = partial(_compare, dense, device=device, rounds=plan.rounds)
    say(f"dense, {plan.queries} queries and {shape[2]} keys, {plan.heads} heads of {shape[3]}")
    report: dict[str, Any] = {
        "device": _name(device),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "dtype": str(dtype).removeprefix("torch."),
        "queries": plan.queries,
        "keys": shape[2],
        "heads": plan.heads,
        "head_dim": plan.head_dim,
        "dense_ms": rounded(1e3 * _seconds(dense, device, plan.rounds), digits=4),
        "backends": {},
        "sparse": {},
        "with_selection": {},
    }
    for name, context in _contexts(device).items():
        with context:
            ratio = compare(partial(attention, query, key, value))
        report["backends"][name] = rounded(ratio, digits=3)
    say("window")
    live = Span(0, shape[2] // 4)
    report["window"] = {
        "keys": live.tokens,
        "speedup_vs_dense": rounded(compare(_window(query, key, value, live)), digits=3),
    }
    for sparsity in SPARSITIES:
        say(f"sparse, {sparsity:.0%}")
        policy = SparsePolicy(
            "top_k", query_block=_BLOCK, key_block=_BLOCK, max_density=1 - sparsity
        )
        blocks = choose_blocks(query, key, policy)
        report["sparse"][str(sparsity)] = rounded(
            compare(partial(_sparse, query, key, value, blocks)), digits=3
        )
        whole = partial(_chosen_and_sparse, query, key, value, policy)
        report["with_selection"][str(sparsity)] = rounded(compare(whole), digits=3)
    return report


def _window(query: Tensor, key: Tensor, value: Tensor, live: Span) -> Callable[[], object]:
    """Attention to the live slots as they lie: by the kernel, or to views."""
    if backend_for(query) == "triton":
        from ...kernels.ring_attention.ring_attention import ring_attention

        return partial(ring_attention, query, key, value, (live,))
    slots = slice(live.start, live.start + live.tokens)
    return partial(attention, query, key[:, :, slots], value[:, :, slots])


def _sparse(query: Tensor, key: Tensor, value: Tensor, blocks: BlockList) -> object:
    if backend_for(query) == "triton":
        from ...kernels.block_sparse.block_sparse import block_sparse

        return block_sparse(query, key, value, blocks)
    return block_sparse_torch(query, key, value, blocks)


def _chosen_and_sparse(query: Tensor, key: Tensor, value: Tensor, policy: SparsePolicy) -> object:
    """The whole of it: scores, choice, list, global branch, attention."""
    blocks = choose_blocks(query, key, policy)
    rest = GlobalBranch.of(key, value, blocks)
    if backend_for(query) == "triton":
        from ...kernels.block_sparse.block_sparse import block_sparse

        return block_sparse(query, key, value, blocks, rest=rest)
    return block_sparse_torch(query, key, value, blocks, rest=rest)


def _contexts(device: torch.device) -> dict[str, AbstractContextManager[None]]:
    """Those that run here; Triton's interpreter is no backend to time."""
    found: dict[str, AbstractContextManager[None]] = {
        "sdpa": use_backend("sdpa"),
        "reference": use_backend("reference"),
    }
    if device.type == "cuda":
        whole = AttentionShape(2, 2, 128, 256, 1024, torch.bfloat16)
        for name in working(whole, device, installed()):
            if name != "sdpa":
                found[name] = use_provider(name)
    return found


def _compare(
    dense: Callable[[], object], other: Callable[[], object], *, device: torch.device, rounds: int
) -> float:
    """How many times faster `other` is: the median ratio of pairs, one right after the other."""
    for call in (dense, other):
        _time(call, device)
    return median(_time(dense, device) / _time(other, device) for _ in range(rounds))


def _seconds(call: Callable[[], object], device: torch.device, rounds: int) -> float:
    _time(call, device)
    return median(_time(call, device) for _ in range(rounds))


def _time(call: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call, on a GPU until it is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    with torch.inference_mode():
        call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu ({platform.machine()})"
