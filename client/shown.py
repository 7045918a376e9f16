"""What a stream yields: frames and the speech that goes with them, on one media clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Decode = bool | Literal["encoded"]
"""Whether frames have images; `encoded`: their packets in place of that."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One video frame at `pts_us` of media time, of the chunk that the server generated.

    `seq` counts generated frames; a gap means that the server skipped some to keep up.
    `arrived_s` is the client's monotonic clock when it came in, `bytes` its encoded size; in a
    stream that was opened with `decode="encoded"`, `data` is its packet as it came. `generation`
    counts encoders: another one begins with each connection and where a fleet moves the stream.
    """

    seq: int
    pts_us: float
    chunk: int
    is_key: bool
    is_last_of_chunk: bool
    is_discontinuous: bool
    server_ms: float
    arrived_s: float
    bytes: int
    pixels: np.ndarray | None
    data: bytes = b""
    generation: int = 0

    @property
    def image(self) -> np.ndarray:
        """Uint8 RGB [H, W, 3]. Raises ValueError unless the stream was opened with decode=True."""
        if self.pixels is None:
            raise ValueError("this stream does not decode; connect with decode=True for images")
        return self.pixels


@dataclass(frozen=True, slots=True, eq=False)
class Audio:
    """Speech to play from `pts_us` on: int16 mono, `rate` samples per second."""

    seq: int
    pts_us: float
    chunk: int
    is_discontinuous: bool
    samples: np.ndarray
    rate: int
