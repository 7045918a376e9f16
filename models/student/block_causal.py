"""Block-causal attention over a whole sequence, with the reach and positions of streaming."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...kernels.block_sparse.gilbert import gilbert_order
from ...kernels.dispatch import attention, sparse_attention
from ..upload import uploaded
from .config import CacheConfig, RopeFamily
from .ema_fold import shares_of
from .rope import RopeTable, rotate


@dataclass(frozen=True, slots=True)
class _Reach:
    """What one chunk sees: sink frames 0..`sinks` and frames `first`..`end`.

    `sink` rotates the sink's keys to a place nearer than their own; None: they are at their own.
    `shares` [sinks, first] are those of the frames before `first` in a sink that averages them;
    None: the sink is its own frames.
    """

    sinks: int
    first: int
    end: int
    sink: Tensor | None
    shares: Tensor | None = None


class BlockCausal:
    """What each chunk of a stream would attend to, for all chunks in one differentiable pass.

    Chunk after chunk the sink, the `window_frames` up to the chunk's end and no mask: less work
    than one masked call, and exactly what streaming does. Where streaming bounds the distance to
    the sink (raw keys, `bounded_sink`), the sink's keys follow the window at a fixed distance: from
    frame `trained_frames` on, for RoPE that is aligned to the top of such a range.

    An EMA sink of raw keys is what it is in a stream: the mean of the first frames and of all that
    have left the window, by shares that follow from their places alone. With a sparse policy the
    tokens of each frame have to come in `token_order`, as a cache has them; blocks that are within
    frames are chosen as a stream chooses them.
    """

    def __init__(
        self,
        rope: RopeTable,
        family: RopeFamily,
        config: CacheConfig,
        *,
        frames: int,
        chunk_frames: int,
        trained_frames: int = 0,
    ) -> None:
        _check_ema(config, family)
        _check_sparse(config, rope.tokens_per_frame)
        if config.reach_frames is not None:
            raise ValueError("a joint window has no parallel form; leave reach_frames out")
        if frames % chunk_frames or chunk_frames > config.window_frames:
            raise ValueError(
                f"{frames} frames in chunks of {chunk_frames} with a window of "
                f"{config.window_frames}; expected whole chunks that fit the window"
            )
        if frames > config.capacity_frames and not config.rolling:
            raise ValueError(f"{frames} frames exceed a global cache of {config.capacity_frames}")
        self._tokens = rope.tokens_per_frame
        self._chunk_frames = chunk_frames
        self._sparse = config.sparse
        self.token_order: Tensor | None = None
        """How the tokens of a frame have to come; None: row after row."""
        if config.sparse is not None:
            order = gilbert_order(1, rope.rows, rope.columns)
            self.token_order = uploaded(order, rope.device)
            rope = rope.in_order(order)
        self._rotations = rope.rotations(range(frames))
        bounded = family != "absolute" or config.bounded_sink
        farthest = trained_frames if family == "top_aligned" else config.capacity_frames
        self._reaches: list[_Reach] = []
        for end in range(chunk_frames, frames + 1, chunk_frames):
            sinks = min(config.sink_frames, end)
            behind = max(0, end - farthest) if bounded else 0
            near = rope.rotations(range(behind, behind + sinks)) if behind and sinks else None
            first = max(sinks, end - config.window_frames)
            shares = None
            if config.sink == "ema" and first > sinks:
                shares = uploaded(shares_of(config, first), rope.device)
            self._reaches.append(_Reach(sinks, first, end, near, shares))

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attention of [B, H, N, D] before RoPE."""
        # Whole frames are split once: slices of the sequence would cost a full-size gradient each.
        queries = rotate(query, self._rotations).split(self._chunk_frames * self._tokens, dim=2)
        keys = rotate(key, self._rotations).split(self._tokens, dim=2)
        values = value.split(self._tokens, dim=2)
        out: list[Tensor] = []
        for reach, chunk in zip(self._reaches, queries, strict=True):
            sink, of_sink = self._sink(reach, reach.sinks, (key, value), keys, values)
            seen = torch.cat((*sink, *keys[reach.first : reach.end]), dim=2)
            read = torch.cat((*of_sink, *values[reach.first : reach.end]), dim=2)
            out.append(self._attention(chunk, seen, read))
        return torch.cat(out, dim=2)

    def attend_behind(
        self, past: tuple[Tensor, Tensor], query: Tensor, key: Tensor, value: Tensor
    ) -> Tensor:
        """The same, where a chunk's past is not its kin in this pass but `past`.

        `past` are keys before RoPE and values of all chunks, [B, H, N, D] as those of the pass; a
        chunk attends to its own of this pass and to all before it of `past`.
        """
        size = self._chunk_frames * self._tokens
        queries = rotate(query, self._rotations).split(size, dim=2)
        own_keys = rotate(key, self._rotations).split(size, dim=2)
        own_values = value.split(size, dim=2)
        keys = rotate(past[0], self._rotations).split(self._tokens, dim=2)
        values = past[1].split(self._tokens, dim=2)
        out: list[Tensor] = []
        for index, (reach, chunk) in enumerate(zip(self._reaches, queries, strict=True)):
            start = reach.end - self._chunk_frames
            sinks = min(reach.sinks, start)
            first = min(max(reach.first, sinks), start)
            sink, of_sink = self._sink(reach, sinks, past, keys, values)
            seen = torch.cat((*sink, *keys[first:start], own_keys[index]), dim=2)
            read = torch.cat((*of_sink, *values[first:start], own_values[index]), dim=2)
            out.append(self._attention(chunk, seen, read))
        return torch.cat(out, dim=2)

    def _sink(
        self,
        reach: _Reach,
        sinks: int,
        past: tuple[Tensor, Tensor],
        keys: Sequence[Tensor],
        values: Sequence[Tensor],
    ) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """Rotated keys and values of the first `sinks` frames of a sink.

        `past` are keys before RoPE and values of all frames; `keys` and `values` the same frame by
        frame, the keys rotated to their own places.
        """
        raw, read = past[0][:, :, : sinks * self._tokens], values[:sinks]
        if reach.shares is not None:
            raw, mean = (self._averaged(x, reach.shares) for x in past)
            read = (mean,)
        if reach.sink is None:
            return keys[:sinks], read
        return (rotate(raw, reach.sink),), read

    def _averaged(self, frames: Tensor, shares: Tensor) -> Tensor:
        """The sink [B, H, sinks * tokens, D] of `frames` [B, H, N, D] by `shares`."""
        gone = frames[:, :, : shares.shape[1] * self._tokens].unflatten(2, (-1, self._tokens))
        return torch.einsum("sf,bhftd->bhstd", shares.to(gone.dtype), gone).flatten(2, 3)

    def _attention(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        if self._sparse is None:
            return attention(query, key, value)
        return sparse_attention(query, key, value, self._sparse)


def _check_ema(config: CacheConfig, family: RopeFamily) -> None:
    if config.sink == "ema" and (family != "slot" or config.ragged != "fold" or config.zero_start):
        raise ValueError(
            "an EMA sink has a parallel form where keys are raw and turned by their slot, and "
            "every frame that leaves is averaged into it; train with a static sink"
        )


def _check_sparse(config: CacheConfig, tokens_per_frame: int) -> None:
    policy = config.sparse
    if policy is None:
        return
    if policy.kind == "sliding_tiles" or policy.samples:
        raise ValueError("only blocks chosen by their means have a parallel form")
    if tokens_per_frame % policy.key_block:
        raise ValueError(
            f"blocks of {policy.key_block} keys of frames of {tokens_per_frame} tokens have no "
            "parallel form; expected blocks within frames"
        )


@dataclass(frozen=True, slots=True)
class CleanPast:
    """Clean chunks as later ones see them: keys before RoPE and values of each layer."""

    plan: BlockCausal
    layers: tuple[tuple[Tensor, Tensor], ...]

    def detached(self) -> CleanPast:
        """The same without a way back for gradients, as a stream's cache is."""
        layers = tuple((key.detach(), value.detach()) for key, value in self.layers)
        return CleanPast(self.plan, layers)
