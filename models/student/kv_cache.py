"""Rolling key/value cache of a stream: fixed memory, nothing moved, any number of chunks.

Self-Forcing's cache (arXiv 2506.08009) kept as a ring, with Reward Forcing's EMA-Sink (2512.04678).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

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
from .call_positions import AdaptiveCall, CachedCall, CallPositions
from .config import CacheConfig, RopeFamily
from .frame_ring import FrameRing, RingWrite
from .rope import RopeTable, rotate
from .token_sink import SinkPlaces, SinkTokens

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
        """What a call that one kernel stores does to keys that are not its own.

        Before its `layers`, which are those of this cache, have their turn: frames that leave are
        averaged into the sink, and raw keys are turned to their places, unless they are.
        """
        if call.tables is None:
            return
        folds = call.fold is not None and call.fold.frames > 0
        if folds:
            assert call.fold is not None
            none = self.key[:, :, :0]
            self._fold_and_write(call.fold, none, none, ())
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

        `key` comes before RoPE, after its norm. The result may be views of the cache: use them
        before the next update. Of a call that does not store they are behind all others.
        """
        if not call.stores:
            keys, values = self._live(call)
            assert call.query is not None
            own = rotate(key, call.query)
            return torch.cat((keys, own), dim=2), torch.cat((values, value), dim=2)
        self.forget_means()
        if call.fold is not None and backend_for(key) == "triton":
            self._fold_and_write(call.fold, key, value, call.ring.segments)
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
        if call.fold is not None:
            self._fold_into_sink(call.fold)
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

    def _fold_into_sink(self, fold: SinkFold) -> None:
        """Average the frames about to be overwritten into the sink."""
        for index in range(fold.frames):
            place = (fold.place + index) % fold.sink_frames
            slot = fold.sink_frames + (fold.gone + index) % fold.window_frames
            self._fold_frame(place, slot, fold.alpha)

    def _fold_frame(self, place: int, slot: int, alpha: float) -> None:
        tokens = self.tokens_per_frame
        sink = slice(place * tokens, (place + 1) * tokens)
        gone = slice(slot * tokens, (slot + 1) * tokens)
        for kept, shadow in ((self.key, self.sink_key), (self.value, self.sink_value)):
            if shadow is None:
                kept[:, :, sink] = alpha * kept[:, :, sink] + (1 - alpha) * kept[:, :, gone]
            else:
                mean = alpha * shadow[:, :, sink] + (1 - alpha) * kept[:, :, gone]
                shadow[:, :, sink] = mean
                kept[:, :, sink] = mean.to(kept.dtype)


class PastCall(Protocol):
    """A call that left its frames `start` to `start + frames` in the cache, or gave it its sink.

    What else it is, is the affair of whoever can make it again.
    """

    @property
    def start(self) -> int: ...
    @property
    def frames(self) -> int: ...
    @property
    def sets_sink(self) -> bool: ...


class StudentCache:
    """The caches of all layers of one stream and its place in time.

    `position` is the first frame of the chunk under way; `begin` opens a call on it, `arrange`
    comes before the layers have their turn, `advance` ends the chunk. `whole` is a cache of all
    layers together, of which they are the parts. `kept` is what else a model wants to keep where
    its cache is: tensors of fixed shapes, saved and zeroed with it. `past` are the calls that what
    it holds comes from, as far as somebody has noted them: made again they fill an empty cache much
    like this one.
    """

    def __init__(
        self,
        config: CacheConfig,
        layers: Sequence[KVCache],
        rope: RopeTable,
        family: RopeFamily,
        places: SinkPlaces | None = None,
        *,
        trained_frames: int = 0,
        whole: KVCache | None = None,
    ) -> None:
        if config.bounded_sink and family != "absolute":
            raise ValueError("bounded_sink is for absolute RoPE; raw keys are always bounded")
        if config.refresh_below is not None and family != "absolute":
            raise ValueError("an adaptive sink compares rotated keys; it needs absolute RoPE")
        if config.sink == "ema" and family == "absolute":
            raise ValueError("an EMA sink averages keys before RoPE; it needs a slot RoPE student")
        self.config = config
        self.layers = list(layers)
        self._whole = whole
        self.position = 0
        self._rope_offset = 0.0
        self._opens_shot = False
        self.kept: dict[str, Tensor] = {}
        self.past: list[Any] = []
        self.takes_sink = False
        """Whether the chunk under way has given it its sink."""
        self._refills = False
        self._places = places
        self._has_sink = False
        self._ring = FrameRing(config.sink_frames, config.window_frames, rolling=config.rolling)
        # Which places the layers' keys are turned for.
        self._turned_for: tuple[tuple[Span, ...], AxisRotations] | None = None
        self._positions = CallPositions(
            config, rope, family, places, self.layers[0].key, trained_frames=trained_frames
        )

    @property
    def token_order(self) -> Tensor | None:
        """Tokens of a frame in the order in which they are cached; None: as they come."""
        return self._positions.token_order

    @property
    def slots_in_time(self) -> tuple[int, ...]:
        """The slots of the frames that are held, oldest frame first."""
        return tuple(held.slot for held in self._ring.held)

    @property
    def end(self) -> int:
        """Frames of the stream that were written, those of the chunk under way included."""
        return self._ring.end

    @property
    def comes_round(self) -> bool:
        """Whether the window was full before the chunk under way, so that it makes frames leave."""
        full = self.position >= self.config.capacity_frames and not self._refills
        return self.config.rolling and full

    @property
    def rope_offset(self) -> float:
        """How much later than its frame number the chunk to come stands, see `begin_shot`."""
        return self._rope_offset

    @property
    def has_past(self) -> bool:
        """Whether `past` tells of all that the cache holds."""
        known = {k for call in self.past for k in range(call.start, call.start + call.frames)}
        sink = not self._has_sink or any(call.sets_sink for call in self.past)
        return sink and all(held.frame in known for held in self._ring.held)

    def note(self, call: PastCall) -> None:
        """Behind `advance`: the call that wrote the frames before `position`, kept as long as one
        of them is held, or its sink is in force."""
        calls = [*self.past, call]
        self.takes_sink = False
        held = {each.frame for each in self._ring.held}
        sets_sink = [each for each in calls if each.sets_sink][-1:]
        self.past = [
            each
            for each in calls
            if any(each is one for one in sets_sink)
            or not held.isdisjoint(range(each.start, each.start + each.frames))
        ]

    def jump(self, start: int) -> None:
        """Go on at frame `start`, as if those before it had come and gone; what is held stays."""
        if self.config.refresh_below is not None or start == self.position:
            # the places of an adaptive sink follow from how many frames have come
            return
        self.position = start
        self._ring.jump(start)
        self._refills = True

    def stand_off(self, rope_offset: float) -> None:
        """Let the chunk to come stand `rope_offset` frames later than its number, as one noted."""
        if self.config.refresh_below is None:
            self._rope_offset = rope_offset

    def begin(
        self,
        frames: int,
        *,
        start: int | None = None,
        rewrite_sink: bool = False,
        store: bool = True,
    ) -> CachedCall:
        """Open a call on `frames` frames from `position`, or from `start` to write the past anew.

        `rewrite_sink` lifts `CacheConfig.guard_sink`. Without `store` the frames attend to those
        before them and to each other, and the cache stays as it is; that needs a cache with
        `reach_frames`. Raises ValueError as `FrameRing.write` does, and for what an adaptive sink
        cannot do: the past anew, or several frames once the cache is full.
        """
        start = self.position if start is None else start
        if self.config.refresh_below is not None:
            return self._begin_adaptive(start, frames)
        if not store:
            return self._positions.reading_call(self._ring.held, start, frames)
        if self._places is not None and not self._has_sink:
            raise ValueError("this cache has no sink yet; call set_sink first")
        again = start + frames <= self._ring.end and start > 0
        keep_sink = self.config.guard_sink and again and not rewrite_sink
        ring = self._ring.write(start, frames, keep_sink=keep_sink)
        if self.config.zero_start and ring.live < self.config.sink_frames:
            sinks = self.config.sink_frames
            ring = RingWrite(ring.evictions, ring.segments, sinks, tuple(range(sinks)))
        held = len(self._ring.held)
        offset = self._rope_offset
        call = self._positions.call(ring, start, frames, self._ring.end, held, offset=offset)
        return self._with_changes(call)

    def take_apart(self) -> None:
        """From here on the tensors of its layers need not be parts of one, and may be moved."""
        self._whole = None

    def arrange(self, call: CachedCall) -> None:
        """What a call does to keys that are not its own, in all layers, before they use them."""
        if self._whole is not None:
            self._whole.arrange(call, self.layers)
            return
        for layer in self.layers:
            layer.arrange(call, [layer])

    def _with_changes(self, call: CachedCall) -> CachedCall:
        """`call` with what it does to keys that are not its own."""
        fold = _fold_of(self.config, call.ring) if self.config.sink == "ema" else None
        ring = replace(call.ring, evictions=())
        folds = fold is not None and fold.frames > 0
        before, now = self._turned_for, call.rotations if call.tables is not None else None
        # tables are compared by identity: each set of places has one
        known = before is not None and now is not None and before[0] == now[0]
        known = known and before is not None and now is not None and before[1] is now[1]
        self._turned_for = now
        return replace(call, ring=ring, fold=fold, turns=now is not None and (folds or not known))

    def _begin_adaptive(self, start: int, frames: int) -> CachedCall:
        end, capacity = start + frames, self.config.capacity_frames
        if start != self.position or (frames > 1 and end > capacity):
            raise ValueError(
                f"got frames {start}..{end} with the cache at {self.position}; an adaptive sink "
                f"takes frames in their order, and one at a time behind the first {capacity}"
            )
        again = end == self._ring.end
        by = 0 if again else self._rewinds_by(start)
        self._rope_offset -= by
        ring = self._ring.write(start, frames)
        held = len(self._ring.held)
        call = self._positions.call(ring, start, frames, end, held, offset=self._rope_offset)
        adaptive = AdaptiveCall(
            held=min(start, capacity),
            place=start + int(self._rope_offset),
            again=again,
            rewind=self._positions.shift(-by) if by else None,
            by=-by,
        )
        return replace(call, adaptive=adaptive)

    def _rewinds_by(self, start: int) -> int:
        """How many places the frame `start` and what is cached go back."""
        limit, place = self.config.rewind_at, start + int(self._rope_offset)
        if limit is None or place < limit:
            return 0
        return place - (self.config.capacity_frames - 1)

    def begin_shot(self, rope_offset: float) -> None:
        """The chunk to come opens a new shot (LongLive 2).

        From it on, absolute RoPE is `rope_offset` frames further ahead of what is cached, and the
        chunk's first `CacheConfig.pinned_frames` frames become the shot's own sink.
        """
        self._rope_offset += rope_offset
        self._opens_shot = True

    def set_sink(self, sink: SinkTokens) -> None:
        """Attend to these tokens from the next call on, whatever chunk that is.

        Raises ValueError if this cache has no room for just that many.
        """
        for layer, (key, value) in zip(self.layers, sink.layers, strict=True):
            if layer.token_key is None or layer.token_key.shape[1:] != key.shape[1:]:
                raise ValueError(
                    f"a sink of {tuple(key.shape[1:])}; this cache has room for "
                    f"{None if layer.token_key is None else tuple(layer.token_key.shape[1:])}"
                )
            layer.token_key.copy_(key.expand_as(layer.token_key))
            layer.value[:, :, : layer.sink_tokens] = value
        self._has_sink = self.takes_sink = True

    def advance(self, frames: int) -> None:
        """The chunk of `frames` frames is done; the next call is on the frames behind it."""
        self.position += frames
        assert self.position == self._ring.end, (self.position, self._ring.end)
        if self._opens_shot and self.config.pinned_frames:
            self._ring.pin(frames, self.config.pinned_frames)
        self._opens_shot = False
        self._refills = self._refills and self._ring.live < self.config.capacity_frames

    def reset(self) -> None:
        """Back to the start of a stream; memory stays where it is."""
        self.position = 0
        self.past = []
        self.takes_sink = False
        self._refills = False
        self._rope_offset = 0.0
        self._opens_shot = False
        self._ring.reset()
        self._has_sink = False
        self._turned_for = None
        for tensor in self.tensors().values():
            tensor.zero_()
        for layer in self.layers:
            layer.forget_means()

    def poison(self, fill: float = float("nan")) -> None:
        """Fill the slots that are not live, so that a test sees whether anything reads them."""
        for layer in self.layers:
            live = layer.sink_tokens + self._ring.live * self.layers[0].tokens_per_frame
            layer.key[:, :, live:] = fill
            layer.value[:, :, live:] = fill

    def tensors(self) -> dict[str, Tensor]:
        """All tensors of a snapshot by name, `<layer>.<name>` and `kept.<name>`; not copies."""
        layers = {
            f"{index}.{name}": tensor
            for index, layer in enumerate(self.layers)
            for name, tensor in layer.tensors().items()
        }
        return layers | {f"kept.{name}": tensor for name, tensor in self.kept.items()}

    def mark(self) -> dict[str, Any]:
        """Where it is now, for `go_back`."""
        names = ("position", "past", "takes_sink", "_refills", "_rope_offset", "_opens_shot")
        kept = {name: getattr(self, name) for name in (*names, "_has_sink")}
        return kept | {"_ring": self._ring.copy()}

    def go_back(self, mark: Mapping[str, Any]) -> None:
        """Be where it was at a `mark` of the same chunk; keys and values stay as they are.

        Frames that were written since lie in slots that the same frames are given again. Not for an
        EMA sink: what has left the ring is in it for good.
        """
        for name, value in mark.items():
            setattr(self, name, value)
        self._ring = self._ring.copy()
        self._turned_for = None
        for layer in self.layers:
            layer.forget_means()

    def derived(self) -> tuple[Tensor, ...]:
        """What the layers keep beside that, see `KVCache.derived`."""
        return tuple(tensor for layer in self.layers for tensor in layer.derived())

    def metadata(self) -> dict[str, Any]:
        """The rest of a snapshot, JSON-able."""
        return {
            "position": self.position,
            "sink": self._has_sink,
            "rope_offset": self._rope_offset,
            "opens_shot": self._opens_shot,
            **self._ring.metadata(),
        }

    def load(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
        """Take over the `tensors` and `metadata` of a cache of the same shape.

        Raises ValueError, and changes nothing, if names or shapes differ.
        """
        own = self.tensors()
        wrong = [
            name
            for name in own.keys() | tensors.keys()
            if name not in own or name not in tensors or own[name].shape != tensors[name].shape
        ]
        if wrong:
            raise ValueError(f"snapshot of another cache: {sorted(wrong)[:4]} differ")
        for name, tensor in own.items():
            tensor.copy_(tensors[name])
        for layer in self.layers:
            layer.forget_means()
        self._turned_for = None
        self.past = []
        self.position = int(metadata["position"])
        self._rope_offset = float(metadata.get("rope_offset", 0.0))
        self._opens_shot = bool(metadata.get("opens_shot", False))
        self._ring.load(metadata)
        self._refills = self._ring.live < min(self.position, self.config.capacity_frames)
        self._has_sink = bool(metadata.get("sink", False))


def _fold_of(config: CacheConfig, ring: RingWrite) -> SinkFold:
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
