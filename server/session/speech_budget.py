"""How much speech a coming chunk is fed, so that speech never drifts from the picture."""

from __future__ import annotations

from collections import deque

from ...models.contract import ModelInfo


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
        self._under_way: deque[tuple[int, bool]] = deque()
        """By step: the frames it should have, and whether its speech was not cleared since."""

    def expected_frames(self, *, starts_anew: bool = False) -> int:
        """How many frames the next chunk should have."""
        first = self._info.first_chunk_frames
        if first is not None and (self._first or starts_anew):
            return first
        return self._info.chunk_frames

    def under_way_frames(self, *, besides: int = 0) -> int:
        """How many frames the steps under way should have, without the `besides` oldest."""
        return sum(frames for frames, _ in list(self._under_way)[besides:])

    def begin(self, *, starts_anew: bool = False, clears: bool = False) -> int:
        """How many samples the next step is fed at most; 0 for a model without sound.

        `starts_anew`: the step begins with a reset; `clears`: it drops what the model was fed.
        """
        expected = self.expected_frames(starts_anew=starts_anew)
        if starts_anew or clears:
            self._ahead_frames = 0
            self._under_way = deque((frames, False) for frames, _ in self._under_way)
        frames = max(0, expected - self._ahead_frames)
        self._first = False
        self._ahead_frames += frames - expected
        self._under_way.append((expected, True))
        before, self._fed_frames = self._fed_frames, self._fed_frames + frames
        return self._info.samples(self._fed_frames) - self._info.samples(before)

    def finish(self, frames: int) -> None:
        """The oldest step under way came out with so many frames."""
        expected, is_fed = self._under_way.popleft()
        if is_fed:
            # a longer chunk was padded with silence: nothing is owed
            self._ahead_frames = max(0, self._ahead_frames + expected - frames)

    def drop(self) -> None:
        """The oldest step under way is not shown."""
        self._under_way.popleft()
