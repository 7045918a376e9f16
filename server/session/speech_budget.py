"""How much speech a coming chunk is fed, so that speech never drifts from the picture."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from msgspec import Struct

from ...models.contract import ModelInfo


@dataclass(slots=True)
class _Step:
    """A step under way: the frames it should have, and the samples that it was fed.

    `clears`: the model forgets at its begin what it was fed before.
    """

    expected: int
    clears: bool
    fed: int = 0


class BudgetRecord(Struct, frozen=True):
    """A budget: each step under way as expected frames, whether it clears, and samples fed."""

    first: bool
    frames: int
    left: int
    under_way: list[tuple[int, bool, int]]


class SpeechBudget:
    """`begin` steps, which are then `fed` what their frames will last at most, and `finish` them.

    How many frames a chunk has is known when it is there. If it has fewer than were expected, the
    rest of its speech waits in the model, and a later step is fed that much less.
    """

    def __init__(self, info: ModelInfo) -> None:
        self._info = info
        self._first = True
        self._frames = 0
        """Frames of the steps that came out."""
        self._left = 0
        """Samples that wait in the model since."""
        self._under_way: deque[_Step] = deque()

    def expected_frames(self, *, starts_anew: bool = False) -> int:
        """How many frames the next chunk should have."""
        first = self._info.first_chunk_frames
        if first is not None and (self._first or starts_anew):
            return first
        return self._info.chunk_frames

    def under_way_frames(self, *, besides: int = 0) -> int:
        """How many frames the steps under way should have, without the `besides` oldest."""
        return sum(step.expected for step in list(self._under_way)[besides:])

    def begin(self, *, starts_anew: bool = False, clears: bool = False) -> int:
        """How many samples the next step may be `fed`; 0 for a model without sound.

        `starts_anew`: the step begins with a reset; `clears`: it drops what the model was fed.
        """
        frames, left = self._frames, self._left
        for step in self._under_way:
            left = self._left_after(step, frames, step.expected, left)
            frames += step.expected
        expected = self.expected_frames(starts_anew=starts_anew)
        step = _Step(expected, starts_anew or clears)
        self._first = False
        self._under_way.append(step)
        return max(0, self._length(frames, expected) - (0 if step.clears else left))

    def record(self) -> BudgetRecord:
        """What another one needs to go on from here."""
        steps = [(step.expected, step.clears, step.fed) for step in self._under_way]
        return BudgetRecord(self._first, self._frames, self._left, steps)

    def load(self, record: BudgetRecord) -> None:
        """Go on where another one was."""
        self._first, self._frames, self._left = record.first, record.frames, record.left
        self._under_way = deque(_Step(*step) for step in record.under_way)

    def fed(self, samples: int) -> None:
        """So many samples were given to the step that was begun last."""
        self._under_way[-1].fed = samples

    def finish(self, frames: int) -> int:
        """The oldest step under way came out with so many frames.

        Returns after how many samples of its sound, besides the model's look-ahead, that begins
        which it was fed: behind what the steps before it did not show.
        """
        step = self._under_way.popleft()
        waited = 0 if step.clears else self._left
        self._left = self._left_after(step, self._frames, frames, waited)
        self._frames += frames
        return waited

    def drop(self) -> None:
        """The oldest step under way is not shown."""
        if self._under_way.popleft().clears:
            self._left = 0

    def _left_after(self, step: _Step, first: int, frames: int, left: int) -> int:
        """What then waits in the model; what a chunk lacks is silence, and nothing is owed."""
        return max(0, (0 if step.clears else left) + step.fed - self._length(first, frames))

    def _length(self, first: int, frames: int) -> int:
        return self._info.samples(first + frames) - self._info.samples(first)
