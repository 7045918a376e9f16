"""Block-causal attention over a whole sequence, with the reach and positions of streaming."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...kernels.dispatch import attention
from .config import CacheConfig, RopeFamily
from .rope import RopeTable, rotate


@dataclass(frozen=True, slots=True)
class _Reach:
    """What one chunk sees: sink frames 0..`sinks` and frames `first`..`end`.

    `sink` rotates the sink's keys to a place nearer than their own; None: they are at their own.
    """

    sinks: int
    first: int
    end: int
    sink: Tensor | None


class BlockCausal:
    """What each chunk of a stream would attend to, for all chunks in one differentiable pass.

    Chunk after chunk the sink, the `window_frames` up to the chunk's end and no mask: less work
    than one masked call, and exactly what streaming does. Where streaming bounds the distance to
    the sink (raw keys, `bounded_sink`), the sink's keys follow the window at a fixed distance: from
    frame `trained_frames` on, for RoPE that is aligned to the top of such a range.
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
        if config.sink == "ema":
            raise ValueError("an EMA sink has no parallel form; train with a static sink")
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
        self._rotations = rope.rotations(range(frames))
        bounded = family != "absolute" or config.bounded_sink
        farthest = trained_frames if family == "top_aligned" else config.capacity_frames
        self._reaches: list[_Reach] = []
        for end in range(chunk_frames, frames + 1, chunk_frames):
            sinks = min(config.sink_frames, end)
            behind = max(0, end - farthest) if bounded else 0
            near = rope.rotations(range(behind, behind + sinks)) if behind and sinks else None
            self._reaches.append(_Reach(sinks, max(sinks, end - config.window_frames), end, near))

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attention of [B, H, N, D] before RoPE."""
        # Whole frames are split once: slices of the sequence would cost a full-size gradient each.
        queries = rotate(query, self._rotations).split(self._chunk_frames * self._tokens, dim=2)
        keys = rotate(key, self._rotations).split(self._tokens, dim=2)
        values = value.split(self._tokens, dim=2)
        out: list[Tensor] = []
        for reach, chunk in zip(self._reaches, queries, strict=True):
            sink = keys[: reach.sinks]
            if reach.sink is not None:
                sink = (rotate(key[:, :, : reach.sinks * self._tokens], reach.sink),)
            seen = torch.cat((*sink, *keys[reach.first : reach.end]), dim=2)
            read = (*values[: reach.sinks], *values[reach.first : reach.end])
            out.append(attention(chunk, seen, torch.cat(read, dim=2)))
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
            sink = keys[:sinks]
            if reach.sink is not None:
                sink = (rotate(past[0][:, :, : sinks * self._tokens], reach.sink),)
            seen = torch.cat((*sink, *keys[first:start], own_keys[index]), dim=2)
            read = (*values[:sinks], *values[first:start], own_values[index])
            out.append(attention(chunk, seen, torch.cat(read, dim=2)))
        return torch.cat(out, dim=2)


@dataclass(frozen=True, slots=True)
class CleanPast:
    """Clean chunks as later ones see them: keys before RoPE and values of each layer."""

    plan: BlockCausal
    layers: tuple[tuple[Tensor, Tensor], ...]

    def detached(self) -> CleanPast:
        """The same without a way back for gradients, as a stream's cache is."""
        layers = tuple((key.detach(), value.detach()) for key, value in self.layers)
        return CleanPast(self.plan, layers)
