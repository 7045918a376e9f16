"""Frames as encoders take them: planar YUV420 of limited-range BT.601, half the bytes of RGB."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

_RED, _GREEN, _BLUE = 0.299, 0.587, 0.114
_LUMA, _CHROMA = 219 / 255, 224 / 255


class Coming(Protocol):
    """Bytes that are perhaps still on their way from a GPU."""

    @property
    def ready(self) -> bool:
        """Whether they are there."""
        ...

    def wait(self) -> np.ndarray:
        """The bytes, when they are there."""
        ...


class YuvFrame:
    """One picture of `height` x `width` pixels.

    `planes` uint8 [3 H / 2, W] as ffmpeg's yuv420p: H rows of luma, then the two planes of chroma,
    each half as high and wide. H and W are `height` and `width` made even: the edge is repeated.
    """

    def __init__(self, planes: np.ndarray, height: int, width: int) -> None:
        check_planes(planes.shape, height, width)
        self.planes, self.height, self.width = planes, height, width

    def parts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Views of luma [H, W] and chroma, blue and red [H / 2, W / 2] each."""
        rows, columns = even(self.height), even(self.width)
        chroma = self.planes[rows:].reshape(2, rows // 2, columns // 2)
        return self.planes[:rows], chroma[0], chroma[1]


class YuvFrames:
    """Pictures of a chunk, each as in `YuvFrame`; those still on their way are waited for."""

    def __init__(self, planes: np.ndarray | Coming, count: int, height: int, width: int) -> None:
        self._planes = planes
        self._count, self.height, self.width = count, height, width

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> YuvFrame:
        return YuvFrame(self.planes[number], self.height, self.width)

    def __iter__(self) -> Iterator[YuvFrame]:
        return (self[number] for number in range(self._count))

    @property
    def ready(self) -> bool:
        """Whether `planes` would not wait."""
        return isinstance(self._planes, np.ndarray) or self._planes.ready

    def wait(self) -> None:
        """Return when they are there; for a thread beside the one that reads them."""
        if not isinstance(planes := self._planes, np.ndarray):
            planes.wait()

    @property
    def planes(self) -> np.ndarray:
        """All of them, uint8 [T, 3 H / 2, W]. Raises ValueError if they are not of this shape."""
        if not isinstance(self._planes, np.ndarray):
            self._planes = self._planes.wait()
        if self._planes.shape != (whole := (self._count, *planes_shape(self.height, self.width))):
            raise ValueError(f"planes {self._planes.shape}; expected {whole}")
        return self._planes

    def rgb(self) -> np.ndarray:
        """uint8 RGB [T, height, width, 3]; each value of chroma is taken for its four pixels."""
        return np.stack([_rgb(self[number]) for number in range(self._count)])


Picture = np.ndarray | YuvFrame
"""uint8 RGB [H, W, 3], or planar YUV420."""
Pictures = np.ndarray | YuvFrames
"""uint8 RGB [T, H, W, 3], or planar YUV420."""


def pixels_of(pictures: Pictures) -> np.ndarray:
    """Their bytes as they are, RGB or planes; those still on their way are waited for."""
    return pictures if isinstance(pictures, np.ndarray) else pictures.planes


def even(side: int) -> int:
    """`side`, or one more if it is odd."""
    return side + side % 2


def planes_shape(height: int, width: int) -> tuple[int, int]:
    """Of a picture's planes behind each other."""
    return 3 * even(height) // 2, even(width)


def check_planes(shape: tuple[int, ...], height: int, width: int) -> None:
    """Raise ValueError unless `shape` is that of a picture's planes."""
    if shape != (wanted := planes_shape(height, width)):
        raise ValueError(f"planes {shape} of {width}x{height} pixels; expected {wanted}")


def _rgb(frame: YuvFrame) -> np.ndarray:
    luma, *chroma = (part.astype(np.float32) for part in frame.parts())
    blue, red = (part.repeat(2, 0).repeat(2, 1) / _CHROMA - 128 / _CHROMA for part in chroma)
    grey = (luma - 16) / _LUMA
    colours = (
        grey + 2 * (1 - _RED) * red,
        grey - 2 * (_RED * (1 - _RED) * red + _BLUE * (1 - _BLUE) * blue) / _GREEN,
        grey + 2 * (1 - _BLUE) * blue,
    )
    levels = np.stack(colours, axis=-1)[: frame.height, : frame.width]
    return np.clip(np.round(levels), 0, 255).astype(np.uint8)
