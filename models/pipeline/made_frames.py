"""A chunk as its stage packed it, unpacked by who drives the stages."""

from __future__ import annotations

from ..contract import Chunk, ModelInfo
from ..yuv_frames import YuvFrames, planes_shape
from .frame_arena import FrameArena
from .messages import MadeChunk


def unpacked(made: MadeChunk, info: ModelInfo, arena: FrameArena | None) -> Chunk:
    """The chunk with its frames, copied out of the arena if they are there.

    Raises ValueError for frames that are not the model's, or not there.
    """
    height, width = info.height, info.width
    is_rgb = made.shape[1:] == (height, width, 3)
    if (not is_rgb and made.shape[1:] != planes_shape(height, width)) or made.shape[0] < 1:
        raise ValueError(f"frames {made.shape}")
    frames = made.frames
    if made.slot is not None:
        if arena is None:
            raise ValueError(f"slot {made.slot}, and there is no arena")
        frames = arena.read(made.slot, made.shape)
    assert frames is not None, "MadeChunk has either"
    pictures = frames if is_rgb else YuvFrames(frames, len(frames), height, width)
    return Chunk(made.index, pictures, made.audio, made.talking, made.scene, made.ignored_words)
