"""What a model's streams give up, rung by rung, while the machine is too slow for all of them.

Pure policy over figures, with hysteresis: a rung is taken soon and given back late, and only where
the chunks' times say that it will not be needed again at once.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ...models.contract import Economy, ModelInfo
from ..session.quality import Quality

Rung = Literal["lead", "bitrate", "tiny_decoder", "steps", "half_rate", "closed", "park"]

CHANGE_S = 5.0
"""At most one change in so long."""
SETTLE_S = 2.0
"""Chunks just after a change were begun before it, or make up for what was missed till then."""
TIGHT_S = 3.0
LATE_S = 5.0
MARGIN_CHUNKS = -0.1
"""So long before its viewer runs dry a chunk should be there, but for one in twenty."""
LATE_SHARE = 0.01
HALF_RATE_SHARE = 0.2
"""Every second frame is left out only where so many chunks are late: less of that is seen less."""
MOST_LOAD = 0.85
"""With more of it newcomers would cost those that run their bits, and then their frames."""
CALM_LOAD = 0.75
CALM_S = 20.0
MOST_CALM_S = 320.0
AGAIN_S = 60.0
"""A rung that is needed again so soon after it was given back is kept for twice as long."""
MORE_LEAD_CHUNKS = 0.3
BITRATE_SHARE = 0.6
SIZE_SHARE = 0.75
LARGE_PIXELS = 640 * 360
"""Of fewer pixels an encoder makes a picture in a millisecond, and gains nothing with less."""
LATEST = 31
"""Chunks whose times tell what a rung gives."""
ENOUGH = 8
LEAST_GIVEN = 0.2
"""What a rung is taken to leave of a chunk's time at least: the load may have gone meanwhile."""

_MADE_SOONER: frozenset[Rung] = frozenset(("tiny_decoder", "steps", "half_rate"))
_OPEN: frozenset[Rung] = frozenset(("lead", "bitrate"))
_WHY: dict[Rung, str] = {
    "lead": "more is made ahead",
    "bitrate": "pictures have fewer bits",
    "tiny_decoder": "pictures are decoded by a smaller network",
    "steps": "pictures are made in fewer steps",
    "half_rate": "half as many frames are shown",
    "closed": "nobody else is let in",
    "park": "streams that stand still give up their places",
}


def rungs_of(info: ModelInfo) -> tuple[Rung, ...]:
    """What can be given up with a model, the least first."""
    can, rungs = info.economy, list[Rung](["lead", "bitrate"])
    if can.tiny_decoder:
        rungs.append("tiny_decoder")
    if can.steps is not None:
        rungs.append("steps")
    if can.frame_every > 1:
        rungs.append("half_rate")
    if len(rungs) == 2:
        # a rung of those above closes the door as well
        rungs.append("closed")
    rungs.append("park")
    return tuple(rungs)


@dataclass(frozen=True, slots=True)
class _Made:
    """A chunk: when it was there, so many seconds after its viewer ran dry (before: less than 0),
    and how long it kept the machine at work."""

    at_s: float
    margin_s: float
    step_s: float


class QualityLadder:
    """The rungs of one model; `level` of them are taken."""

    def __init__(self, info: ModelInfo) -> None:
        self.rungs = rungs_of(info)
        self.level = 0
        self._can = info.economy
        self._is_large = info.width * info.height >= LARGE_PIXELS
        self._chunk_s = info.chunk_us / 1e6
        self._made: deque[_Made] = deque()
        self._steps_s: deque[float] = deque(maxlen=LATEST)
        """Of chunks at the present level, without those before it has settled."""
        self._before_s = [0.0] * len(self.rungs)
        """Of a chunk below each rung, when that was taken."""
        self._gives: list[float | None] = [
            None if rung in _MADE_SOONER else 1.0 for rung in self.rungs
        ]
        """The time of a chunk with each rung over that without; None: not known yet."""
        self._calm_s = [CALM_S] * len(self.rungs)
        self._given_back_s = [-math.inf] * len(self.rungs)
        self._changed_s = -math.inf
        self._tight_since_s: float | None = None
        self._calm_since_s: float | None = None

    @property
    def takes_new(self) -> bool:
        """Whether further streams may begin: not while those that run have lost more than bits."""
        return set(self.rungs[: self.level]) <= _OPEN

    @property
    def parks(self) -> bool:
        """Whether streams that stand still lose their places whoever waits for them."""
        return "park" in self.rungs[: self.level]

    def admits(self, load: float) -> bool:
        """Whether one more may begin, with which they take this part of the machine's time.

        Those that run must not lose anything to it.
        """
        return self.takes_new and load <= (CALM_LOAD if self.level else MOST_LOAD)

    @property
    def quality(self) -> Quality:
        """What the streams have at this level."""
        taken = self.rungs[: self.level]
        return Quality(
            level=self.level,
            why=f"the server is busy: {self._why(taken[-1])}" if taken else None,
            more_lead_chunks=MORE_LEAD_CHUNKS if "lead" in taken else 0.0,
            bitrate_share=BITRATE_SHARE if "bitrate" in taken else 1.0,
            size_share=SIZE_SHARE if "bitrate" in taken and self._is_large else 1.0,
            economy=Economy(
                tiny_decoder="tiny_decoder" in taken,
                steps=self._can.steps if "steps" in taken else None,
                frame_every=self._can.frame_every if "half_rate" in taken else 1,
            ),
        )

    def made(self, margin_s: float, step_s: float, now_s: float) -> None:
        """A chunk is there, `margin_s` after its viewer ran dry (less than 0: before).

        It kept the machine at work for `step_s`.
        """
        self._made.append(_Made(now_s, margin_s, step_s))
        if now_s - self._changed_s >= SETTLE_S:
            self._steps_s.append(step_s)

    def excuse(self, now_s: float) -> None:
        """What was late until now says nothing: the server stood still, or the model was away."""
        self._made.clear()
        self._tight_since_s = self._calm_since_s = None
        self._changed_s = max(self._changed_s, now_s)

    def look(self, now_s: float) -> float | None:
        """Whether the level is another one from now on; call several times a second.

        If so, how many times as long a chunk is going to take, 1 where that is not known.
        """
        while self._made and self._made[0].at_s <= now_s - LATE_S:
            self._made.popleft()
        self._learn()
        tight = self._is_tight(now_s)
        if tight:
            self._calm_since_s = None
        calm = self.level > 0 and not tight and self._is_calm(now_s)
        if now_s - self._changed_s < CHANGE_S or not (tight or calm):
            return None
        if calm:
            return self._give_back(now_s)
        if self.level == len(self.rungs) or not self._is_worth(self.rungs[self.level]):
            return None
        return self._take(now_s)

    def load(self, now_s: float) -> float:
        """The part of the machine's time that the latest chunks took."""
        span_s = min(LATE_S, max(1.0, now_s - self._changed_s))
        busy_s = sum(each.step_s for each in self._made if each.at_s > now_s - span_s)
        return busy_s / span_s

    # Private.

    def _why(self, rung: Rung) -> str:
        smaller = rung == "bitrate" and self._is_large
        return "pictures are smaller" if smaller else _WHY[rung]

    def _seen(self) -> tuple[list[_Made], int]:
        """What was made since the level has settled, and how much of it was late."""
        seen = [each for each in self._made if each.at_s >= self._changed_s + SETTLE_S]
        return seen, sum(each.margin_s >= 0 for each in seen)

    def _is_worth(self, rung: Rung) -> bool:
        """Whether viewers miss more without a rung than with it."""
        seen, late = self._seen()
        return rung != "half_rate" or late >= HALF_RATE_SHARE * len(seen)

    def _is_tight(self, now_s: float) -> bool:
        seen, late = self._seen()
        latest = sorted(each.margin_s for each in seen if each.at_s > now_s - TIGHT_S)
        if not latest or _p95(latest) <= MARGIN_CHUNKS * self._chunk_s:
            self._tight_since_s = None
        elif self._tight_since_s is None:
            self._tight_since_s = now_s
        since_s = self._tight_since_s
        long = since_s is not None and now_s - since_s >= TIGHT_S
        return long or late >= max(2, LATE_SHARE * len(seen))

    def _is_calm(self, now_s: float) -> bool:
        """Whether the rung below would do, and that for long enough."""
        rung = self.level - 1
        gives = self._gives[rung]
        if gives is None or self.load(now_s) / gives > CALM_LOAD:
            self._calm_since_s = None
            return False
        if self._calm_since_s is None:
            self._calm_since_s = now_s
        return now_s - self._calm_since_s >= self._calm_s[rung]

    def _take(self, now_s: float) -> float:
        rung = self.level
        if self._steps_s:
            self._before_s[rung] = statistics.median(self._steps_s)
            if self.rungs[rung] in _MADE_SOONER:
                self._gives[rung] = None
        again = now_s - self._given_back_s[rung] < AGAIN_S
        self._calm_s[rung] = min(2 * self._calm_s[rung], MOST_CALM_S) if again else CALM_S
        self._change(self.level + 1, now_s)
        return 1.0

    def _give_back(self, now_s: float) -> float:
        rung = self.level - 1
        self._given_back_s[rung] = now_s
        self._change(rung, now_s)
        return 1 / (self._gives[rung] or 1.0)

    def _change(self, level: int, now_s: float) -> None:
        self.level, self._changed_s = level, now_s
        self._tight_since_s = self._calm_since_s = None
        self._steps_s.clear()

    def _learn(self) -> None:
        """What the latest rung gives, once enough chunks were made with it."""
        rung = self.level - 1
        if rung < 0 or self._gives[rung] is not None or len(self._steps_s) < ENOUGH:
            return
        before_s = self._before_s[rung] or self._steps_s[0]
        given = statistics.median(self._steps_s) / before_s
        self._gives[rung] = min(1.0, max(LEAST_GIVEN, given))


def _p95(ordered: Sequence[float]) -> float:
    return ordered[math.ceil(0.95 * len(ordered)) - 1]
