"""What frames that leave a cache do to its EMA sink (Reward Forcing, arXiv 2512.04678)."""

from __future__ import annotations

import torch
from torch import Tensor

from ...kernels.ring_plan import SinkFold
from .config import CacheConfig
from .frame_ring import RingWrite


def fold_of(config: CacheConfig, ring: RingWrite) -> SinkFold:
    """What the frames about to be overwritten do to an EMA sink."""
    sinks, count = config.sink_frames, len(ring.evictions)
    published = config.ragged == "overwrite"
    overwrite = published and count != sinks
    first = ring.evictions[0] if ring.evictions else None
    return SinkFold(
        sinks,
        config.window_frames,
        frames=min(count, sinks) if overwrite else count,
        gone=first.slot - sinks if first else 0,
        place=first.frame % sinks if first and not published else 0,
        alpha=0.0 if overwrite else config.alpha,
    )


def fold_frames(fold: SinkFold, kept: Tensor, shadow: Tensor | None, frame_tokens: int) -> None:
    """Average the frames about to be overwritten into the sink, by torch's operators.

    `kept` [B, H, slots * frame_tokens, D] are keys or values, changed in place; with a `shadow` of
    its sink in float32 the mean is kept there.
    """
    for index in range(fold.frames):
        place = (fold.place + index) % fold.sink_frames
        slot = fold.sink_frames + (fold.gone + index) % fold.window_frames
        sink = slice(place * frame_tokens, (place + 1) * frame_tokens)
        gone = slice(slot * frame_tokens, (slot + 1) * frame_tokens)
        if shadow is None:
            kept[:, :, sink] = fold.alpha * kept[:, :, sink] + (1 - fold.alpha) * kept[:, :, gone]
        else:
            mean = fold.alpha * shadow[:, :, sink] + (1 - fold.alpha) * kept[:, :, gone]
            shadow[:, :, sink] = mean
            kept[:, :, sink] = mean.to(kept.dtype)


def shares_of(config: CacheConfig, gone: int) -> Tensor:
    """How much of each of the first `gone` frames an EMA sink has in it, [sink_frames, gone].

    Frames leave one by one behind the sink's own, each into the sink frame that it is in line for.
    """
    sinks, shares = config.sink_frames, torch.eye(config.sink_frames, gone)
    for frame in range(sinks, gone):
        own = shares[frame % sinks]
        own *= config.alpha
        own[frame] += 1 - config.alpha
    return shares
