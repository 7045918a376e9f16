"""The definition of norm, rotation and cache write, in float64."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..axis_rotations import AxisRotations, rotated_pairs
from ..ring_plan import FrameWrite


def norm_rope_write_ref(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    weight_query: Tensor,
    weight_key: Tensor,
    cache_key: Tensor,
    cache_value: Tensor,
    *,
    rotation: AxisRotations,
    place: int,
    writes: Sequence[FrameWrite],
    rotate_key: bool,
    eps: float,
    turned_key: Tensor | None = None,
) -> Tensor:
    """As `norm_rope_write.norm_rope_write`; the result is float64, caches keep their dtype."""
    heads, tokens = cache_key.shape[1], rotation.frame_tokens
    frames = query.shape[1] // tokens
    rotations = rotation.expand(range(place, place + frames))

    def split(x: Tensor) -> Tensor:
        return x.double().unflatten(2, (heads, -1)).transpose(1, 2)

    keys = split(_normed(key, weight_key, eps))
    stored = rotated_pairs(keys, rotations) if rotate_key else keys
    caches = [(cache_key, stored), (cache_value, split(value))]
    if turned_key is not None:
        caches.append((turned_key, rotated_pairs(keys.to(cache_key.dtype).double(), rotations)))
    for cache, new in caches:
        for write in writes:
            slots = slice(write.slot * tokens, (write.slot + write.frames) * tokens)
            source = slice(write.source * tokens, (write.source + write.frames) * tokens)
            cache[:, :, slots] = new[:, :, source].to(cache.dtype)
    return rotated_pairs(split(_normed(query, weight_query, eps)), rotations)


def _normed(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    wide = x.double()
    scale = (wide.square().mean(-1, keepdim=True) + eps).rsqrt()
    return wide * scale * weight.double()
