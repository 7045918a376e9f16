"""Points that a viewer drags, and a camera as points that it carries, as a preset states it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ...contract import CameraInput, TracksInput
from .conditioning import Conditioning


@dataclass(frozen=True, slots=True)
class DraggedPoints(Conditioning):
    """Tracks for a student with a track head, after MotionStream (arXiv 2511.01266).

    `identities` is how many different points it was trained with (`max_track_id`).
    """

    kind: ClassVar[str] = "tracks"
    identities: int = 100_000

    def inputs(self, size: tuple[int, int], fps: int) -> Mapping[str, Any]:
        """A pointer, and a camera in six degrees of freedom."""
        del size, fps
        return {"tracks": TracksInput(), "camera": CameraInput("6dof")}
