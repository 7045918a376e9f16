"""The definition of the EMA-Sink update: frame by frame, the mean in float64."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..ring_plan import FrameWrite, SinkFold


def ema_sink_ref(
    key: Tensor,
    value: Tensor,
    new_key: Tensor,
    new_value: Tensor,
    *,
    fold: SinkFold,
    writes: Sequence[FrameWrite],
    frame_tokens: int,
    shadow_key: Tensor | None = None,
    shadow_value: Tensor | None = None,
) -> None:
    """As `ema_sink.ema_sink`, in place."""
    for cache, new, shadow in ((key, new_key, shadow_key), (value, new_value, shadow_value)):
        slots = cache.unflatten(2, (-1, frame_tokens))
        sink = slots if shadow is None else shadow.unflatten(2, (-1, frame_tokens))
        for index in range(fold.frames):
            place = (fold.place + index) % fold.sink_frames
            gone = fold.sink_frames + (fold.gone + index) % fold.window_frames
            kept, leaving = sink[:, :, place].double(), slots[:, :, gone].double()
            mean = fold.alpha * kept + (1 - fold.alpha) * leaving
            sink[:, :, place] = mean.to(sink.dtype)
            slots[:, :, place] = mean.to(slots.dtype)
        frames = new.unflatten(2, (-1, frame_tokens))
        for write in writes:
            for index in range(write.frames):
                slot = write.slot + index
                slots[:, :, slot] = frames[:, :, write.source + index]
                if shadow is not None and slot < fold.sink_frames:
                    sink[:, :, slot] = slots[:, :, slot].to(sink.dtype)
