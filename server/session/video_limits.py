"""What is sent of the frames that a model makes: how large, how many a second, how many bits."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

from ...models.contract import ModelInfo
from ..protocol.client_messages import VideoBounds
from .link import default_kbps


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoLimits:
    """Bounds that a client has set; None: none."""

    max_kbps: int | None = None
    max_width: int | None = None
    max_height: int | None = None
    max_fps: int | None = None

    def changed(self, wish: VideoBounds) -> VideoLimits:
        """With the bounds that the client names; the others stay."""
        named = {each.name: getattr(wish, each.name) for each in fields(self)}
        return replace(self, **{name: value for name, value in named.items() if value is not None})

    def size(self, info: ModelInfo, most: float = 1.0) -> tuple[int, int]:
        """Width and height of the pictures that are sent: even, unless the model's own.

        They are at most `most` of the model's.
        """
        wide, high = self.max_width or info.width, self.max_height or info.height
        share = min(most, wide / info.width, high / info.height)
        if share == 1:
            return info.width, info.height
        return _even(info.width * share), _even(info.height * share)

    def fps(self, info: ModelInfo) -> int:
        """How many frames a second are sent at most."""
        return min(info.fps, self.max_fps or info.fps)

    def shows(self, seq: int, info: ModelInfo) -> bool:
        """Whether this frame is one of those, which are spread evenly and begin with the first."""
        fps = self.fps(info)
        return seq == 0 or seq * fps // info.fps > (seq - 1) * fps // info.fps

    def kbps(self, info: ModelInfo, most: int) -> int:
        """The highest bitrate to ask of the encoder, `most` being what the server permits."""
        return min(default_kbps(*self.size(info), self.fps(info)), most, self.max_kbps or most)


def _even(pixels: float) -> int:
    return max(2, 2 * math.floor(pixels / 2 + 1e-9))
