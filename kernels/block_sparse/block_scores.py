"""How much attention a block of queries is likely to pay to a block of keys, for a small price.

Two estimates. Pooled: the softmax over the means of the blocks, N M / (block sizes) of the scores.
Sampled, after Video-BLADE (arXiv 2508.10774): the true attention of a few tokens of each block;
theirs are 32 of 128, a sixteenth of the scores. Theirs are drawn anew every call and the highest
weight of a pair of blocks is its score. Here the draw depends on nothing but the seed and the
number of tokens, and a score adds up the weights of a block's keys, so that the energy of a row is
the share of attention that a choice of blocks keeps.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from .block_list import blocks_of


def block_means(x: Tensor, block: int) -> Tensor:
    """Means [..., blocks, D] of runs of `block` rows of `x` [..., N, D]; the last may be short."""
    rest = x.shape[-2] % block
    whole = x[..., : x.shape[-2] - rest, :].unflatten(-2, (-1, block)).mean(-2, dtype=torch.float32)
    if rest:
        last = x[..., -rest:, :].mean(-2, dtype=torch.float32, keepdim=True)
        whole = torch.cat((whole, last), dim=-2)
    return whole.to(x.dtype)


def log_counts(tokens: int, block: int, device: torch.device) -> Tensor:
    """log of how many tokens each block has, float32 [blocks]."""
    counts = torch.full((blocks_of(tokens, block),), math.log(block), device=device)
    if tokens % block:
        counts[-1].fill_(math.log(tokens % block))
    return counts


def pooled_scores(
    query: Tensor, key: Tensor, query_block: int, key_block: int, scale: float | None = None
) -> Tensor:
    """Shares [B, H, query blocks, key blocks] (float32) of attention, each row adding up to 1.

    From block means of `query` [B, H, N, D] and `key` [B, Hkv, M, D]. A short block counts for as
    many keys as it has.
    """
    means = block_means(query, query_block)
    of_keys = _for_heads(block_means(key, key_block), query.shape[1])
    factor = query.shape[3] ** -0.5 if scale is None else scale
    scores = (means @ of_keys.transpose(-1, -2)).float() * factor
    return torch.softmax(scores + log_counts(key.shape[2], key_block, key.device), dim=-1)


def sampled_scores(
    query: Tensor,
    key: Tensor,
    query_block: int,
    key_block: int,
    scale: float | None = None,
    *,
    samples: int,
    seed: int,
) -> Tensor:
    """As `pooled_scores`, from the attention of `samples` tokens of each block to each block's.

    A row's score of a block is the highest share that any of its sampled queries pays to it.
    """
    chosen_queries = sample_tokens(query.shape[2], query_block, samples, seed, query.device)
    chosen_keys = sample_tokens(key.shape[2], key_block, samples, seed + 1, key.device)
    some = query[:, :, chosen_queries.flatten()]
    keys = _for_heads(key[:, :, chosen_keys.flatten()], query.shape[1])
    factor = query.shape[3] ** -0.5 if scale is None else scale
    scores = (some @ keys.transpose(-1, -2)).float() * factor
    # A sample stands for its block's number of keys.
    weight = log_counts(key.shape[2], key_block, key.device).repeat_interleave(samples)
    weights = torch.softmax(scores + weight, dim=-1)
    shares = weights.unflatten(-1, (-1, samples)).sum(-1)
    highest = shares.unflatten(-2, (-1, samples)).amax(-2)
    return F.normalize(highest, p=1.0, dim=-1)


@lru_cache(maxsize=64)
def sample_tokens(tokens: int, block: int, samples: int, seed: int, device: torch.device) -> Tensor:
    """Tokens [blocks, samples] drawn from each block, from a short one possibly the same twice.

    The same for the same arguments; made once and kept. Raises ValueError for more than `block`.
    """
    if not 1 <= samples <= block:
        raise ValueError(f"{samples} samples of blocks of {block}; expected 1..{block}")
    generator = torch.Generator().manual_seed(seed)
    count = blocks_of(tokens, block)
    drawn = torch.rand(count, block, generator=generator).argsort(1)[:, :samples]
    last = tokens - (count - 1) * block
    drawn[-1] %= last
    starts = block * torch.arange(count)
    return (starts[:, None] + drawn.sort(1).values).to(device)


def _for_heads(x: Tensor, heads: int) -> Tensor:
    """`x` [B, Hkv, M, D] repeated for the `heads` that share its heads."""
    return x if x.shape[1] == heads else x.repeat_interleave(heads // x.shape[1], dim=1)
