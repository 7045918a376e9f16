"""The tile step that every attention kernel here shares: one tile of keys into a running softmax.

After FlashAttention-2 (arXiv 2307.08691), with one multiply-add per score: scale and base of the
exponential are one factor, applied where the peak is subtracted.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def online_softmax_step(
    query,
    key,
    value,
    bias,
    mixed,
    peak,
    total,
    scale_log2,
    BIASED: tl.constexpr,
):
    """Fold keys and values [BLOCK_N, BLOCK_D] into (`mixed`, `peak`, `total`), returned anew.

    `query` [BLOCK_M, BLOCK_D] is unscaled; `scale_log2` is the softmax scale times log2(e) and
    positive. `mixed` [BLOCK_M, BLOCK_D] is the sum of weighted values, `peak` [BLOCK_M] the highest
    scaled score and `total` [BLOCK_M] the sum of weights, all float32; they start at 0, -inf, 0.
    With BIASED, `bias` [BLOCK_N] (float32, times log2(e)) is added to the scaled scores, and keys
    whose bias is -inf do not count, whatever they hold; unless an earlier tile did, one must count,
    or `peak` stays at -inf and the weights are NaN. Rows of `value` that do not count must still be
    finite (0 * NaN is NaN): load them masked or pass them through `zero_dead_rows`.

    Call it in a plain counted loop: an `if` around it makes the compiler wait for every wgmma of
    the kernel, those of other loops included.
    """
    # Not "tf32": float32 inputs are for tests and small models, where exactness is the point.
    scores = tl.dot(query, tl.trans(key), input_precision="ieee")
    if BIASED:
        counts = bias[None, :] > float("-inf")
        scores = tl.where(counts, scores * scale_log2 + bias[None, :], float("-inf"))
        higher = tl.maximum(peak, tl.max(scores, 1))
        weights = tl.exp2(scores - higher[:, None])
    else:
        # A multiply-add for each score: the scale of the highest one is applied after the search.
        higher = tl.maximum(peak, tl.max(scores, 1) * scale_log2)
        weights = tl.exp2(scores * scale_log2 - higher[:, None])
    keep = tl.exp2(peak - higher)
    # Sums over every eighth key: on tensor cores' layouts a thread has all of them, so that threads
    # meet once, after the loop, instead of in every step.
    M: tl.constexpr = weights.shape[0]
    N: tl.constexpr = weights.shape[1]
    total = total * keep[:, None] + tl.sum(tl.reshape(weights, [M, N // 8, 8]), 1)
    mixed = mixed * keep[:, None]
    mixed = tl.dot(weights.to(value.dtype), value, mixed, input_precision="ieee")
    return mixed, higher, total


@triton.jit
def online_softmax_end(mixed, peak, total):
    """The attention [BLOCK_M, BLOCK_D] and its log-sum-exp [BLOCK_M] (natural logarithm), float32.

    A row that saw no key gives zeros and -inf.
    """
    total = tl.sum(total, 1)
    empty = total == 0.0
    attention = mixed / tl.where(empty, 1.0, total)[:, None]
    # log of 0 is left to the select: hardware and interpreter differ in what they say about it.
    log2_sum = peak + tl.log2(tl.where(empty, 1.0, total))
    return attention, log2_sum * 0.6931471805599453


@triton.jit
def dead_bias(live):
    """The bias of keys of which those that are `live` count as they are and the others do not."""
    return tl.where(live, 0.0, float("-inf"))


@triton.jit
def zero_dead_rows(value, live):
    """`value` [BLOCK_N, BLOCK_D] with zeros where `live` [BLOCK_N] is false."""
    return tl.where(live[:, None], value, 0.0).to(value.dtype)
