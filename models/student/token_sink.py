"""The sink of a Live Avatar: reference and motion tokens that every chunk attends to.

Their keys are kept before RoPE and rotated anew as the stream goes on, so that the reference stays
the same number of frames ahead (Rolling RoPE, arXiv 2512.04677, section 4.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .config import CacheConfig, StudentConfig
from .frame_packer import packed_places
from .rope import Grid, RopeTable


@dataclass(frozen=True, slots=True)
class SinkTokens:
    """Keys before RoPE and values [B, H, N, D] of every layer: the reference's, then motion's.

    They were made at time 0, so that one set serves the caches of all denoising steps.
    """

    layers: tuple[tuple[Tensor, Tensor], ...]


class SinkPlaces:
    """Where the sink's tokens stand while a chunk is made.

    The reference has frame `frame`, or later the chunk's first frame + `distance`. Motion stays
    where it is as published, farther away with every chunk; `bounded` moves it along with the
    reference, so that a stream of any length sees the same distances.
    """

    def __init__(
        self,
        rope: RopeTable,
        reference: Grid,
        motion: Sequence[Grid],
        *,
        distance: int,
        bounded: bool,
    ) -> None:
        self._rope = rope
        self._reference = reference
        self._motion = tuple(motion)
        self._frame = reference.frames[0]
        self._distance = distance
        self._bounded = bounded
        self._kept: tuple[int, Tensor] | None = None

    @property
    def tokens(self) -> int:
        """Tokens of the sink."""
        return sum(grid.tokens for grid in (self._reference, *self._motion))

    def first_rotations(self) -> Tensor:
        """Rotations [tokens, D / 2] at the places where the sink is made."""
        return self._shifted(0)

    def rotations(self, start: int) -> Tensor:
        """Rotations [tokens, D / 2] for a chunk that begins with frame `start`."""
        return self._shifted(max(0, start + self._distance - self._frame))

    def _shifted(self, shift: int) -> Tensor:
        """Kept until the shift changes: all calls on a chunk have the same."""
        if self._kept is None or self._kept[0] != shift:
            grids = [self._reference.shifted(shift)]
            grids += [grid.shifted(shift if self._bounded else 0) for grid in self._motion]
            self._kept = shift, torch.cat([self._rope.grid_rotations(grid) for grid in grids])
        return self._kept[1]


def places_of(
    student: StudentConfig, cache: CacheConfig | None, rope: RopeTable, height: int, width: int
) -> SinkPlaces | None:
    """Where the tokens of an avatar's sink stand; None for other students.

    Without a `cache`, only where the sink is made. Raises ValueError if `cache` has a rolling
    distance and the student no avatar, or the other way round.
    """
    avatar = student.avatar
    distance = 0 if cache is None and avatar else cache.rolling_distance if cache else None
    if (avatar is None) != (distance is None):
        raise ValueError(
            f"rolling_distance {distance}; avatars need one, other students have no use for it"
        )
    if avatar is None or distance is None:
        return None
    rows, columns = range(height // student.patch[1]), range(width // student.patch[2])
    return SinkPlaces(
        rope,
        Grid((avatar.reference_frame,), tuple(rows), tuple(columns)),
        packed_places(height, width),
        distance=distance,
        bounded=cache is not None and cache.bounded_sink,
    )


def drawn_distance(seed: int) -> int:
    """A stream's distance, 4 to 30 frames as in training; the published code draws every call."""
    generator = torch.Generator().manual_seed(seed)
    return int(torch.randint(4, 31, (), generator=generator))
