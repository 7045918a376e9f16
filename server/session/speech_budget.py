"""How much speech a coming chunk is fed, so that speech never drifts from the picture."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from ...models.contract import ModelInfo


@dataclass(frozen=True, slots=True)
class _Step:
    """A step under way: the frames it should have, and for how many it was fed.

    `clears`: the model forgets at its begin what it was fed before; `is_fed`: its own speech was
    not cleared since.
    """

    expected: int
    fed: int
    clears: bool
    is_fed: bool = True


class SpeechBudget:
    """`begin` steps with as many samples as their frames will last, `finish` them in that order.

    How many frames a chunk has is known when it is there. If it has fewer than were expected, the
    rest of its speech waits in the model, and a later step is fed that much less.
    """

    def __init__(self, info: ModelInfo) -> None:
        self._info = info
        self._first = True
        self._ahead_frames = 0
        """Frames that the model was fed for beyond those it will have shown."""
        self._fed_frames = 0
        self._shown_ahead_frames = 0
        """The same of the steps that came out."""
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
        """How many samples the next step is fed at most; 0 for a model without sound.

        `starts_anew`: the step begins with a reset; `clears`: it drops what the model was fed.
        """
        expected = self.expected_frames(starts_anew=starts_anew)
        if starts_anew or clears:
            self._ahead_frames = 0
            self._under_way = deque(replace(step, is_fed=False) for step in self._under_way)
        frames = max(0, expected - self._ahead_frames)
        self._first = False
        self._ahead_frames += frames - expected
        self._under_way.append(_Step(expected, frames, starts_anew or clears))
        before, self._fed_frames = self._fed_frames, self._fed_frames + frames
        return self._info.samples(self._fed_frames) - self._info.samples(before)

    def finish(self, frames: int) -> int:
        """The oldest step under way came out with so many frames.

        Returns at which of them, without the model's look-ahead, the speech that it was fed
        begins: behind what the steps before it were fed and did not show.
        """
        step = self._under_way.popleft()
        if step.is_fed:
            # a longer chunk was padded with silence: nothing is owed
            self._ahead_frames = max(0, self._ahead_frames + step.expected - frames)
        begins = 0 if step.clears else self._shown_ahead_frames
        self._shown_ahead_frames = max(0, begins + step.fed - frames)
        return begins

    def drop(self) -> None:
        """The oldest step under way is not shown."""
        self._under_way.popleft()
