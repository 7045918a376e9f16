"""Block-causal attention over a whole sequence, with the mask and positions of streaming."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..kernels.dispatch import attention
from .config import CacheConfig, RopeFamily
from .rope import RopeTable, rotate


class BlockCausal:
    """What each chunk of a stream would attend to, for all chunks in one differentiable call.

    Chunk c sees the sink frames, the `window_frames` up to its own end, and itself. Where
    streaming bounds the distance to the sink (slot RoPE, `bounded_sink`), queries behind a full
    cache have two positions: their own towards the window and the clamped one towards the sink.
    Both come out of one attention call by doubling the head: [q_window, q_sink] against
    [k_window, 0] or [0, k_sink].
    """

    def __init__(
        self,
        rope: RopeTable,
        family: RopeFamily,
        config: CacheConfig,
        *,
        frames: int,
        chunk_frames: int,
    ) -> None:
        if config.sink == "ema":
            raise ValueError("an EMA sink has no parallel form; train with a static sink")
        if frames % chunk_frames or chunk_frames > config.window_frames:
            raise ValueError(
                f"{frames} frames in chunks of {chunk_frames} with a window of "
                f"{config.window_frames}; expected whole chunks that fit the window"
            )
        if frames > config.capacity_frames and not config.rolling:
            raise ValueError(f"{frames} frames exceed a global cache of {config.capacity_frames}")
        tokens = rope.tokens_per_frame
        frame = torch.arange(frames)
        end = (frame // chunk_frames + 1) * chunk_frames
        sink = frame < config.sink_frames
        seen = (frame < end[:, None]) & (sink | (frame >= end[:, None] - config.window_frames))
        spread = seen.repeat_interleave(tokens, 0).repeat_interleave(tokens, 1)
        self._mask = None if seen.all() else spread.to(rope.device)
        self._rotations = rope.rotations(range(frames))
        behind = (end - config.capacity_frames).clamp(min=0)
        bounded = family == "slot" or config.bounded_sink
        self._clamped: Tensor | None = None
        self._sink_tokens = config.sink_frames * tokens
        if bounded and config.sink_frames and behind.any():
            self._clamped = rope.rotations((frame - behind).tolist())

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attention of [B, H, N, D] before RoPE."""
        dim = query.shape[-1]
        near, keys = rotate(query, self._rotations), rotate(key, self._rotations)
        if self._clamped is None:
            return attention(near, keys, value, mask=self._mask)
        queries = torch.cat((near, rotate(query, self._clamped)), dim=-1)
        sink, window = keys.tensor_split((self._sink_tokens,), dim=2)
        both = torch.cat((F.pad(sink, (dim, 0)), F.pad(window, (0, dim))), dim=2)
        # The fused CPU kernel wants one head size for all three.
        wide = F.pad(value, (0, dim))
        return attention(queries, both, wide, mask=self._mask, scale=dim**-0.5)[..., :dim]
