"""Frames of the client's video between their decoding and the model: the newest of them."""

from __future__ import annotations

from collections import deque

import numpy as np

from ...models.contract import Controls, ModelInfo


class VideoQueue:
    """Keeps as many frames as two chunks last, since frames come in bursts.

    An older one makes room for a newer and counts as dropped.
    """

    def __init__(self, info: ModelInfo) -> None:
        self._frames: deque[np.ndarray] = deque(maxlen=max(1, 2 * info.video_frames))
        self.taken = 0
        """Frames that were given to the model."""
        self.dropped = 0
        """Frames that came and were not."""

    def push(self, frame: np.ndarray) -> None:
        """A frame, uint8 RGB [H, W, 3]."""
        self.dropped += len(self._frames) == self._frames.maxlen
        self._frames.append(frame)

    def take(self) -> np.ndarray:
        """What came since the last call, uint8 RGB [T, H, W, 3]."""
        if not self._frames:
            return Controls().video
        frames = np.stack(self._frames)
        self.taken += len(frames)
        self._frames.clear()
        return frames

    def clear(self) -> None:
        """Free everything; what waited counts as dropped."""
        self.dropped += len(self._frames)
        self._frames.clear()
