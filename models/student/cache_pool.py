"""Room for the caches of many streams of one shape: the keys of a layer lie in one tensor.

So what a call does to the caches of all its rows is one operation each (`pooled_attend`), and a
cache is what it was for everything else: its tensors are views of its place.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass

import torch
from torch import Tensor

from .kv_cache import KVCache
from .student_cache import StudentCache


@dataclass(frozen=True, slots=True)
class Seat:
    """Where a layer's keys and values lie: in `pool`, as those of layer `layer` at `place`."""

    pool: CachePool
    layer: int
    place: int


class CachePool:
    """Keys and values [places, H, tokens, D] of each layer; a place is taken by `seat`.

    It is left when its cache is gone. With no place left there are twice as many, and what was
    there is copied.
    """

    def __init__(self) -> None:
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []
        self._seated: dict[int, weakref.ref[StudentCache]] = {}
        self._places = 0

    @property
    def places(self) -> int:
        """Places that there are, taken or not."""
        return self._places

    def seat(self, cache: StudentCache) -> StudentCache:
        """`cache`, of batch 1, with its keys and values moved to a free place, the lowest one.

        One with an adaptive sink stays where it is, since that replaces its tensors.
        """
        if any(type(layer) is not KVCache for layer in cache.layers):
            return cache
        cache.take_apart()
        place = next((k for k in range(self._places) if k not in self._seated), self._places)
        if place == self._places:
            self._grow(cache)
        for index, layer in enumerate(cache.layers):
            self.keys[index][place] = layer.key[0]
            self.values[index][place] = layer.value[0]
        self._seated[place] = weakref.ref(cache)
        weakref.finalize(cache, self._seated.pop, place, None).atexit = False
        self._sit(cache, place)
        return cache

    def _grow(self, like: StudentCache) -> None:
        old, self._places = self._places, max(1, 2 * self._places)
        if not old:
            # one stream takes no more memory than without a pool
            self.keys = [layer.key for layer in like.layers]
            self.values = [layer.value for layer in like.layers]
            return
        # never inference tensors: see `KVCache`
        with torch.inference_mode(False):
            shapes = [(self._places, *layer.key.shape[1:]) for layer in like.layers]
            layers = list(zip(shapes, like.layers, strict=True))
            keys = [layer.key.new_zeros(shape) for shape, layer in layers]
            values = [layer.value.new_zeros(shape) for shape, layer in layers]
        for index in range(len(layers)):
            keys[index][:old] = self.keys[index]
            values[index][:old] = self.values[index]
        self.keys, self.values = keys, values
        for place, known in self._seated.items():
            cache = known()
            if cache is not None:
                self._sit(cache, place)

    def _sit(self, cache: StudentCache, place: int) -> None:
        with torch.inference_mode(False):
            for index, layer in enumerate(cache.layers):
                layer.key = self.keys[index][place : place + 1]
                layer.value = self.values[index][place : place + 1]
                layer.seat = Seat(self, index, place)
