"""Rolling key/value cache of a layer: fixed memory, nothing moved, any number of chunks.

Self-Forcing's cache (arXiv 2506.08009) kept as a ring, with Reward Forcing's EMA-Sink (2512.04678).
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...kernels.axis_rotations import AxisRotations
from ...kernels.dispatch import (
    backend_for,
    ema_sink,
    empty_means,
    norm_rope_write,
    pool_blocks,
    rotate_keys,
)
from ...kernels.ring_plan import FrameWrite, SinkFold, Span
from .call_positions import CachedCall
from .config import CacheConfig
from .ema_fold import fold_frames
from .frame_ring import RingWrite
from .rope import rotate

if TYPE_CHECKING:
    from ...kernels.block_sparse.block_pool import BlockMeans
    from .cache_pool import Seat


class KVCache:
    """Keys and values of one layer, [B, H, sink_tokens + slots * tokens_per_frame, D].

    Or of several layers, whose batches stand one behind another (`split`): what is done to all of
    them alike is then done at once.
    """

    def __init__(
        self,
        config: CacheConfig,
        batch: int,
        heads: int,
        tokens_per_frame: int,
        head_dim: int,
        *,
        sink_tokens: int = 0,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.config = config
        self.tokens_per_frame = tokens_per_frame
        self.sink_tokens = sink_tokens

        def buffer(frames: int, kind: torch.dtype, more: int = 0) -> Tensor:
            shape = (batch, heads, frames * tokens_per_frame + more, head_dim)
            return torch.zeros(shape, dtype=kind, device=device)

        # Never inference tensors: a cache may be made in inference mode and used outside of it.
        with torch.inference_mode(False):
            self.key = buffer(config.capacity_frames, dtype, sink_tokens)
            self.value = buffer(config.capacity_frames, dtype, sink_tokens)
            # Before RoPE; the buffer above has them rotated for the chunk under way.
            self.token_key = buffer(0, dtype, sink_tokens) if sink_tokens else None
            # The same of a sink of frames that is to stay right behind the window.
            near = config.bounded_sink and not sink_tokens
            self.raw_sink = buffer(config.sink_frames, dtype) if near else None
            shadow = config.sink == "ema" and config.precision == "shadow"
            self.sink_key = buffer(config.sink_frames, torch.float32) if shadow else None
            self.sink_value = buffer(config.sink_frames, torch.float32) if shadow else None
        self.seat: Seat | None = None
        """Where `key` and `value` are views of a pool of caches."""
        # Raw keys of the live slots turned to their places in time: made by the first call of a
        # chunk that one kernel stores, kept for the others.
        self._turned: Tensor | None = None
        # Means of the blocks of keys and values that are attended to, and of how many tokens.
        self._means: BlockMeans | None = None
        self._pooled = 0

    def split(self, layers: int) -> Sequence[KVCache]:
        """The caches of `layers` layers, parts of this one's memory."""
        parts = [copy(self) for _ in range(layers)]
        for name, tensor in self.tensors().items():
            for part, its in zip(parts, tensor.chunk(layers), strict=True):
                setattr(part, name, its)
        return parts

    def arrange(self, call: CachedCall, layers: Sequence[KVCache]) -> None:
        """What a call does to keys that are not its own.

        Before its `layers`, which are those of this cache, have their turn: frames that leave are
        averaged into the sink, and for a call that one kernel stores raw keys are turned to their
        places, unless they are.
        """
        folds = call.fold is not None and call.fold.frames > 0
        if call.fold is not None and folds:
            self._fold(call.fold)
        if call.tables is None:
            return
        if call.rotations is not None:
            self._turn(*call.rotations, layers, turns=call.turns)
        if folds or call.turns:
            for layer in layers:
                layer.forget_means()

    def _turn(
        self,
        spans: tuple[Span, ...],
        rotation: AxisRotations,
        layers: Sequence[KVCache],
        *,
        turns: bool,
    ) -> None:
        """Turn the raw keys of `spans` to their places; without `turns` they are as they were left.

        Of slots that a call is about to store it is the call that turns what it stores.
        """
        raw, turned = self.key, self.key
        if self.raw_sink is not None:
            raw = self.raw_sink
        else:
            if self._turned is None:
                with torch.inference_mode(False):
                    self._turned = torch.zeros_like(self.key)
                for layer, part in zip(layers, self._turned.chunk(len(layers)), strict=True):
                    layer._turned = part
            turned = self._turned
        if turns:
            live = sum(span.tokens for span in spans)
            rotate_keys(raw[:, :, :live], spans, rotation, out=turned[:, :, :live])

    def update(self, call: CachedCall, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Store the call's `key`, `value` [B, H, N, D]; the keys and values to attend to.

        The call was arranged (`StudentCache.arrange`); `key` comes before RoPE, after its norm. The
        result may be views of the cache: use them before the next update. Of a call that does not
        store they are behind all others.
        """
        if not call.stores:
            keys, values = self._live(call)
            assert call.query is not None
            own = rotate(key, call.query)
            return torch.cat((keys, own), dim=2), torch.cat((values, value), dim=2)
        self.forget_means()
        if call.fold is not None and backend_for(key) == "triton":
            # what leaves has left, see `arrange`
            writes = call.ring.segments
            self._fold_and_write(replace(call.fold, frames=0), key, value, writes)
        else:
            self._store(call, key, value)
        return self._live(call)

    def update_projected(
        self,
        call: CachedCall,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        norms: tuple[Tensor, Tensor],
        eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As `update` for projections [B, N, H * D] before their norms, for a call with `tables`.

        It was arranged (`StudentCache.arrange`); norms have weights `norms`. Also gives the
        queries, normed and rotated, [B, H, N, D]. All keys are rotated, those that are stored raw
        as well.
        """
        assert call.tables is not None
        frames = slice(self.sink_tokens, None)
        raw = call.rotations is not None and self.raw_sink is None
        turned = self._turned if raw else None
        assert (turned is not None) == raw, "StudentCache.arrange comes first"
        rotated = norm_rope_write(
            query,
            key,
            value,
            *norms,
            self.key[:, :, frames],
            self.value[:, :, frames],
            rotation=call.tables[0],
            place=call.tables[1],
            writes=call.ring.segments,
            turned_key=turned,
            rotate_key=turned is None,
            eps=eps,
        )
        if turned is None:
            return rotated, *self._live(call)
        live = call.ring.live * self.tokens_per_frame
        return rotated, turned[:, :, :live], self.value[:, :, :live]

    def block_means(self, call: CachedCall, keys: Tensor, values: Tensor) -> BlockMeans:
        """Of what `update_projected` gave for `call`, for a cache with a policy that is by means.

        Those of past blocks stand still while a chunk is made, and are kept.
        """
        policy, live = self.config.sparse, keys.shape[2]
        assert policy is not None
        if self._means is None:
            with torch.inference_mode(False):
                self._means = empty_means(self.key, policy)
        tokens = self.tokens_per_frame
        changed = [Span(s.slot * tokens, s.frames * tokens) for s in call.ring.segments]
        if self._pooled != live or not changed:
            changed = [Span(0, live)]
        pool_blocks(keys, values, self._means, changed)
        self._pooled = live
        return self._means

    def forget_means(self) -> None:
        """Keys have changed, other than those that the call at hand stores."""
        self._pooled = 0

    def derived(self) -> tuple[Tensor, ...]:
        """What it keeps that follows from `tensors`, and is in no snapshot."""
        means = () if self._means is None else (self._means.key, self._means.value)
        return tuple(tensor for tensor in (self._turned, *means) if tensor is not None)

    def _live(self, call: CachedCall) -> tuple[Tensor, Tensor]:
        """What a call attends to."""
        if call.sink is not None and self.token_key is not None:
            self.key[:, :, : self.sink_tokens] = rotate(self.token_key, call.sink)
        if call.read is not None and self.raw_sink is not None:
            first = call.visible[0] * self.tokens_per_frame if call.visible else 0
            sink = slice(first, first + call.read.shape[0])
            self.key[:, :, sink] = rotate(self.raw_sink[:, :, sink], call.read)
        if call.visible is not None:
            return self._frames(self.key, call.visible), self._frames(self.value, call.visible)
        live = self.sink_tokens + call.ring.live * self.tokens_per_frame
        keys, values = self.key[:, :, :live], self.value[:, :, :live]
        if call.read is None or self.raw_sink is not None:
            return keys, values
        rotated = call.read.shape[0]
        turned = rotate(keys[:, :, :rotated], call.read)
        rest = keys[:, :, rotated:]
        return torch.cat((turned, rest), dim=2) if rotated < live else turned, values

    def _frames(self, kept: Tensor, slots: Sequence[int]) -> Tensor:
        """Those frame slots of `kept`, one behind the other."""
        if not slots:
            return kept[:, :, :0]
        tokens = self.tokens_per_frame
        # Runs of neighbours instead of an index, which a GPU would have to be sent and waited for.
        starts = [k for k, slot in enumerate(slots) if k == 0 or slot != slots[k - 1] + 1]
        ends = [*starts[1:], len(slots)]
        runs = [
            slice(slots[a] * tokens, (slots[b - 1] + 1) * tokens)
            for a, b in zip(starts, ends, strict=True)
        ]
        return torch.cat([kept[:, :, run] for run in runs], dim=2)

    def _store(self, call: CachedCall, key: Tensor, value: Tensor) -> None:
        if call.write is not None:
            head = key[:, :, : call.write_from]
            tail = rotate(key[:, :, call.write_from :], call.write)
            key = torch.cat((head, tail), dim=2) if call.write_from else tail
        self._write(call.ring, key, value)

    def tensors(self) -> dict[str, Tensor]:
        """All that a snapshot must keep, by name; the tensors themselves, not copies."""
        kept = {"key": self.key, "value": self.value}
        if self.token_key is not None:
            kept["token_key"] = self.token_key
        if self.raw_sink is not None:
            kept["raw_sink"] = self.raw_sink
        if self.sink_key is not None and self.sink_value is not None:
            kept |= {"sink_key": self.sink_key, "sink_value": self.sink_value}
        return kept

    def _write(self, ring: RingWrite, key: Tensor, value: Tensor) -> None:
        tokens = self.tokens_per_frame
        for part in ring.segments:
            source = slice(part.source * tokens, (part.source + part.frames) * tokens)
            first = self.sink_tokens + part.slot * tokens
            slots = slice(first, first + part.frames * tokens)
            self.key[:, :, slots] = key[:, :, source]
            self.value[:, :, slots] = value[:, :, source]
            if self.raw_sink is not None:
                sink = slice(slots.start, min(slots.stop, self.raw_sink.shape[2]))
                self.raw_sink[:, :, sink] = self.key[:, :, sink]
            if self.sink_key is not None and self.sink_value is not None:
                sink = slice(slots.start, min(slots.stop, self.sink_key.shape[2]))
                self.sink_key[:, :, sink] = self.key[:, :, sink]
                self.sink_value[:, :, sink] = self.value[:, :, sink]

    def _fold(self, fold: SinkFold) -> None:
        """Average frames about to be overwritten into the sink."""
        if backend_for(self.key) == "triton":
            none = self.key[:, :, :0]
            self._fold_and_write(fold, none, none, ())
            return
        fold_frames(fold, self.key, self.sink_key, self.tokens_per_frame)
        fold_frames(fold, self.value, self.sink_value, self.tokens_per_frame)

    def _fold_and_write(
        self, fold: SinkFold, key: Tensor, value: Tensor, writes: tuple[FrameWrite, ...]
    ) -> None:
        """Both in one kernel, for a cache of raw keys."""
        ema_sink(
            self.key,
            self.value,
            key,
            value,
            fold=fold,
            writes=writes,
            frame_tokens=self.tokens_per_frame,
            shadow_key=self.sink_key,
            shadow_value=self.sink_value,
        )
