"""What a stream has behind it, so that another executor can go on with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..contract import Controls, StreamRequest
from .part_file import Part


@dataclass(frozen=True, slots=True)
class Past:
    """How a stream began, a snapshot of it, and the controls of every chunk behind that.

    `parts` are those of a snapshot behind chunk `behind`; without them the stream begins again with
    `request`, and `behind` is -1. `controls` are those of the chunks `behind + 1` and on, as many
    as were begun. Of these, chunks before `shown_from` were shown and need not come out again.
    `small`: the parts are of a small snapshot, as `Saved` tells of.
    """

    request: StreamRequest
    parts: Mapping[str, bytes | Part]
    behind: int
    controls: Sequence[Controls]
    shown_from: int
    rows: Mapping[int, int] = field(default_factory=dict[int, int])
    small: bool = True

    def __post_init__(self) -> None:
        """Raises ValueError for parts that do not agree."""
        if (self.behind >= 0) != bool(self.parts):
            raise ValueError(f"a snapshot behind chunk {self.behind} has {len(self.parts)} parts")
        if not self.behind < self.shown_from <= self.behind + 1 + len(self.controls):
            raise ValueError(
                f"chunk {self.shown_from} is not among the {len(self.controls)} behind "
                f"chunk {self.behind}"
            )
