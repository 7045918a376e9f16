"""The caches of all layers of one stream: where it is in time, and what a call on it is.

Self-Forcing's rolling window (arXiv 2506.08009), Reward Forcing's EMA-Sink (2512.04678), and what
others made of them, see `CacheConfig`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from torch import Tensor

from ...kernels.axis_rotations import AxisRotations
from ...kernels.ring_plan import Span
from .call_positions import AdaptiveCall, CachedCall, CallPositions
from .config import CacheConfig, RopeFamily
from .ema_fold import fold_of
from .frame_ring import FrameRing, RingWrite
from .kv_cache import KVCache
from .rope import RopeTable
from .token_sink import SinkPlaces, SinkTokens


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


_RULE = ("window_frames", "sink_frames", "sink", "alpha", "precision")
"""Of a `CacheConfig`: what stays of the past, in a cache of whatever tensors."""


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
        self.layers = list(layers)
        self._whole = whole
        self._rope = rope
        self._family: RopeFamily = family
        self._trained_frames = trained_frames
        self._made_for = config
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
        # The first frame of the latest chunk that has made others leave for an EMA sink.
        self._folded_for: int | None = None
        # Which places the layers' keys are turned for.
        self._turned_for: tuple[tuple[Span, ...], AxisRotations] | None = None
        self._keep_by(config)

    def _keep_by(self, config: CacheConfig) -> None:
        """Begin with nothing, by this rule for what stays."""
        if config.bounded_sink and self._family != "absolute":
            raise ValueError("bounded_sink is for absolute RoPE; raw keys are always bounded")
        if config.refresh_below is not None and self._family != "absolute":
            raise ValueError("an adaptive sink compares rotated keys; it needs absolute RoPE")
        if config.sink == "ema" and self._family == "absolute":
            raise ValueError("an EMA sink averages keys before RoPE; it needs a slot RoPE student")
        self.config = config
        for layer in (*self.layers, *([] if self._whole is None else [self._whole])):
            layer.config = config
        self._ring = FrameRing(config.sink_frames, config.window_frames, rolling=config.rolling)
        self._positions = CallPositions(
            config,
            self._rope,
            self._family,
            self._places,
            self.layers[0].key,
            trained_frames=self._trained_frames,
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
        fold = fold_of(self.config, call.ring) if self.config.sink == "ema" else None
        ring = replace(call.ring, evictions=())
        folds = fold is not None and fold.frames > 0
        if folds:
            self._folded_for = self.position
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

    def reset(self, rule: CacheConfig | None = None) -> None:
        """Back to the start of a stream; memory stays where it is.

        From there on it keeps as many frames by another `rule`: that one's window and sink.
        Raises ValueError where the tensors of this cache are no room for that.
        """
        if rule is not None and rule != self.config:
            self._keep_by(self._as(rule))
        self.position = 0
        self.past = []
        self.takes_sink = False
        self._refills = False
        self._rope_offset = 0.0
        self._opens_shot = False
        self._ring.reset()
        self._has_sink = False
        self._folded_for = None
        self._turned_for = None
        for tensor in self.tensors().values():
            tensor.zero_()
        for layer in self.layers:
            layer.forget_means()

    def _as(self, rule: CacheConfig) -> CacheConfig:
        """What this cache was made for, with another rule for what stays."""
        own = self._made_for
        config = replace(own, **{name: getattr(rule, name) for name in _RULE})
        layer = self.layers[0]
        shadow = config.sink == "ema" and config.precision == "shadow"
        fits = config.capacity_frames == own.capacity_frames and shadow == (
            layer.sink_key is not None
        )
        if not fits or layer.raw_sink is not None or type(layer) is not KVCache:
            raise ValueError(
                f"a cache made for {own} cannot keep by {rule}: expected as many frames in all, "
                'an EMA sink with precision "in_place", and neither bounded_sink nor refresh_below'
            )
        return config

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

        Frames that were written since lie in slots that the same frames are given again. What has
        left the ring for an EMA sink is in it for good, from the call's beginning on: then the
        chunk's frames keep their slots, and are written there again.
        """
        ring = self._ring
        for name, value in mark.items():
            setattr(self, name, value)
        self._ring = ring if self._folded_for == self.position else self._ring.copy()
        self._turned_for = None
        for layer in self.layers:
            layer.forget_means()

    def derived(self) -> tuple[Tensor, ...]:
        """What the layers keep beside that, see `KVCache.derived`."""
        return tuple(tensor for layer in self.layers for tensor in layer.derived())

    def metadata(self) -> dict[str, Any]:
        """The rest of a snapshot, JSON-able."""
        made, now = ({k: getattr(c, k) for k in _RULE} for c in (self._made_for, self.config))
        rule = {} if made == now else {"rule": now}
        return {
            "position": self.position,
            "sink": self._has_sink,
            "rope_offset": self._rope_offset,
            "opens_shot": self._opens_shot,
            **rule,
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
        rule = metadata.get("rule")
        kept_by = self._made_for if rule is None else self._as(replace(self._made_for, **rule))
        if kept_by != self.config:
            self._keep_by(kept_by)
        for name, tensor in own.items():
            tensor.copy_(tensors[name])
        for layer in self.layers:
            layer.forget_means()
        self._turned_for = None
        self._folded_for = None
        self.past = []
        self.position = int(metadata["position"])
        self._rope_offset = float(metadata.get("rope_offset", 0.0))
        self._opens_shot = bool(metadata.get("opens_shot", False))
        self._ring.load(metadata)
        self._refills = self._ring.live < min(self.position, self.config.capacity_frames)
        self._has_sink = bool(metadata.get("sink", False))
