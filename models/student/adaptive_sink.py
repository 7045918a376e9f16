"""A ring of frames whose sink is renewed when the stream looks unlike it (StreamDiffusionV2).

After arXiv 2511.07399 and its published code (Apache-2.0): a new frame that is unlike a sink frame
takes that frame's place, any other the place of the window's oldest. What is alike each layer says
for itself, so that its slots differ from those of other layers. The choice is made where keys and
values are: the host waits for nothing.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .call_positions import AdaptiveCall, CachedCall
from .config import CacheConfig
from .kv_cache import KVCache
from .rope import rotate


class AdaptiveKVCache(KVCache):
    """A `KVCache` of one stream with an adaptive sink, see `CacheConfig.refresh_below`.

    While the cache fills, frames take the next slot. With every call on one new frame this is
    compared to the sink as it is, mean key and mean value over a frame's tokens by their cosine
    (float32); a slot of the sink that is still empty is unlike anything. If the least alike one is
    below the threshold, its slot goes to the next frame that finds the cache full: last in, first
    out, and before the window's. That is this frame itself, except while the cache fills. So the
    published streams give up their third frame at the seventh.
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
        if batch != 1:
            raise ValueError(f"batch {batch}: an adaptive sink is that of one stream; expected 1")
        super().__init__(
            config,
            batch,
            heads,
            tokens_per_frame,
            head_dim,
            sink_tokens=sink_tokens,
            dtype=dtype,
            device=device,
        )

        def counters(length: int) -> Tensor:
            return torch.zeros(length, dtype=torch.int64, device=device)

        with torch.inference_mode(False):
            self._places = counters(config.capacity_frames)
            # sink slots to be given away, the next one last, and how many there are
            self._unlike = counters(config.capacity_frames + 1)
            self._unlike_count = counters(1)
            # the window's slot that is next, counted from the sink on; the slot written last
            self._due = counters(1)
            self._slot = counters(1)

    def tensors(self) -> dict[str, Tensor]:
        """As `KVCache.tensors`, and what the sink has decided."""
        return super().tensors() | {
            "places": self._places,
            "unlike": self._unlike,
            "unlike_count": self._unlike_count,
            "turn": self._due,
            "slot": self._slot,
        }

    def _store(self, call: CachedCall, key: Tensor, value: Tensor) -> None:
        adaptive = call.adaptive
        assert adaptive is not None and call.write is not None, "made by StudentCache.begin"
        key = rotate(key, call.write)
        frames = key.shape[2] // self.tokens_per_frame
        full = adaptive.held == self.config.capacity_frames
        if not adaptive.again:
            self._rewind(adaptive)
            if frames == 1:
                self._compare(adaptive.held, key, value)
            if full:
                self._slot.copy_(self._next_slot())
        if full:
            self._put(self.key, key)
            self._put(self.value, value)
            self._places.index_fill_(0, self._slot, adaptive.place)
            return
        self._write(call.ring, key, value)
        first, end = adaptive.held, adaptive.held + frames
        places = torch.arange(adaptive.place, adaptive.place + frames, device=self._places.device)
        self._places[first:end] = places
        self._slot.fill_(end - 1)

    def _rewind(self, call: AdaptiveCall) -> None:
        if call.rewind is None:
            return
        live = self._places[: call.held]
        first = (live >= 0) & (live < self.config.sink_frames)
        keys = self._by_frame(self.key)[:, :, : call.held]
        keys.copy_(torch.where(first[:, None, None], keys, rotate(keys, call.rewind)))
        live.copy_(torch.where(first, live, live + call.by))

    def _compare(self, held: int, key: Tensor, value: Tensor) -> None:
        """Remember the sink frame that the new one is least like, if it is unlike enough."""
        sinks = self.config.sink_frames
        wide = torch.float64 if key.dtype == torch.float64 else torch.float32
        cosines = [
            F.cosine_similarity(
                self._by_frame(kept)[0, :, :sinks].mean(2, dtype=wide).transpose(0, 1).flatten(1),
                new[0].mean(1, dtype=wide).flatten()[None],
            )
            for kept, new in ((self.key, key), (self.value, value))
        ]
        alike = (cosines[0] + cosines[1]) / 2
        alike[min(held, sinks) :] = 0.0
        least, index = alike.min(0, keepdim=True)
        assert self.config.refresh_below is not None, "or it is another kind of cache"
        unlike = least < self.config.refresh_below
        top = self._unlike_count
        self._unlike.scatter_(0, top, torch.where(unlike, index, self._unlike.gather(0, top)))
        top += unlike

    def _next_slot(self) -> Tensor:
        """Where the frame goes that finds the cache full [1]."""
        sinks, window = self.config.sink_frames, self.config.window_frames
        waits = self._unlike_count > 0
        self._unlike_count -= waits.long()
        slot = torch.where(waits, self._unlike.gather(0, self._unlike_count), sinks + self._due)
        self._due.copy_((self._due + (~waits).long()) % window)
        return slot

    def _put(self, kept: Tensor, new: Tensor) -> None:
        self._by_frame(kept).index_copy_(2, self._slot, new[:, :, None])

    def _by_frame(self, kept: Tensor) -> Tensor:
        """A view [1, H, slots, tokens, D]."""
        return kept.unflatten(2, (-1, self.tokens_per_frame))
