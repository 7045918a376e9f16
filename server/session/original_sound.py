"""A client's speech as it was sent, laid beside the frames that show the model's copy of it."""

from __future__ import annotations

from collections import deque

import numpy as np
from msgspec import Struct

from ...models.contract import ModelInfo
from .sample_row import SampleRow

ROUNDING_S = 0.001
"""By so much at most the sound of utterances without a pause between them may come to lie beside
the copy's place: each is rounded to whole samples of the copy."""


class _Fed(Struct):
    """What a step under way was fed: `count` samples of the copy from `index` on, made of the
    samples `first` to `end`. `clears`: the model forgot before that what it was fed earlier.
    """

    index: int
    count: int
    first: int
    end: int
    clears: bool


class _Laid(Struct):
    """The samples `first` to `end` are heard from sample `at` of the stream on."""

    at: int
    first: int
    end: int

    @property
    def end_at(self) -> int:
        return self.at + self.end - self.first


class OriginalRecord(Struct, frozen=True):
    """All of it but for the samples, of which those in `held` are there."""

    end: int
    held: list[tuple[int, int]]
    seams: list[tuple[int, int]]
    fed: list[tuple[int, int, int, int, bool]]
    laid: list[tuple[int, int, int]]
    next_index: int
    next_at: int


class OriginalSound:
    """Pure state; `rate` is of what the client sends, in samples per second.

    Samples of the client, and those of the copy, are counted from the first that ever came. Where
    an utterance begins both are known (`seam`); within it they run evenly. What steps are fed of
    the copy is thus known as samples of the client, and where the model shows the copy these are
    laid: one after the other as long as the copy goes on, so that none is lost or said twice.
    """

    def __init__(self, info: ModelInfo, rate: int) -> None:
        """Raises ValueError for a model without sound."""
        if info.sample_rate is None:
            raise ValueError(f"{info.name} has no sound")
        self._info = info
        self._rate = rate
        self._copy_rate = info.sample_rate
        self._row = SampleRow()
        self._seams: deque[tuple[int, int]] = deque([(0, 0)])
        self._fed: deque[_Fed] = deque()
        self._laid: deque[_Laid] = deque()
        self._next = (-1, -1)
        """Of the copy: the number of the sample behind those that were laid last, and its place."""

    @property
    def byte_count(self) -> int:
        """What is kept."""
        return self._row.byte_count

    def sent(self, samples: np.ndarray) -> None:
        """Samples came from the client, int16 [n]."""
        self._row.add(samples)

    def seam(self, index: int) -> None:
        """What is sent from here on becomes the copy's samples from number `index` on."""
        seam = index, self._row.end
        if self._seams[-1] != seam:
            self._seams.append(seam)

    def cut(self, index: int) -> None:
        """Of what was sent for the copy's samples from number `index` on nothing will be fed."""
        self._row.cut(self._sample(index))

    def fed(self, index: int, count: int, *, clears: bool) -> None:
        """A step begins with `count` samples of the copy from number `index` on."""
        first, end = self._sample(index), self._sample(index + count)
        self._fed.append(_Fed(index, count, first, end, clears))

    def placed(self, first_seq: int, waited: int) -> None:
        """The oldest step came out, with `first_seq` as its first frame.

        What it was fed is heard after `waited` samples of the copy, and the model's look-ahead.
        """
        fed = self._fed.popleft()
        if fed.clears:
            self._end_at(self._place(first_seq))
        if not fed.count:
            return
        copy_at = self._info.samples(first_seq) + waited
        late = self._info.lookahead_ms * self._copy_rate
        at = (copy_at * 1000 + late) * self._rate // (1000 * self._copy_rate)
        goes_on = self._next == (fed.index, copy_at)
        self._next = fed.index + fed.count, copy_at + fed.count
        end_at = self._laid[-1].end_at if self._laid else at
        near = round(ROUNDING_S * self._rate)
        if (-near if goes_on else 0) <= end_at - at <= near:
            at = end_at
        self._end_at(at)
        self._laid.append(_Laid(at, fed.first, fed.end))

    def dropped(self, next_seq: int) -> None:
        """The oldest step is not shown; the frame that comes next is `next_seq`."""
        if self._fed.popleft().clears:
            self._end_at(self._place(next_seq))

    def sound(self, first_seq: int, frames: int) -> np.ndarray:
        """What is heard beside these frames, int16 [n]: as long as they last, without drift."""
        begin, end = self._place(first_seq), self._place(first_seq + frames)
        heard = np.zeros(end - begin, np.int16)
        for each in self._laid:
            here, stop = max(each.at, begin), min(each.end_at, end)
            if here < stop:
                first = each.first + here - each.at
                heard[here - begin : stop - begin] = self._row.part(first, first + stop - here)
        return heard

    def forget(self, first_seq: int, index: int) -> None:
        """Frames before this one are not asked for again; the copy before `index` was fed."""
        begin = self._place(first_seq)
        while self._laid and self._laid[0].end_at <= begin:
            self._laid.popleft()
        while len(self._seams) > 1 and self._seams[1][0] <= index:
            self._seams.popleft()
        needed = [self._sample(index)]
        needed += [each.first for each in (*self._laid, *self._fed)]
        self._row.forget(min(needed))

    # From one server to another.

    def record(self) -> OriginalRecord:
        """What another one needs to go on from here, beside the samples."""
        return OriginalRecord(
            end=self._row.end,
            held=self._row.held,
            seams=list(self._seams),
            fed=[(e.index, e.count, e.first, e.end, e.clears) for e in self._fed],
            laid=[(e.at, e.first, e.end) for e in self._laid],
            next_index=self._next[0],
            next_at=self._next[1],
        )

    def since(self, first: int) -> list[tuple[int, np.ndarray]]:
        """The samples that are kept, from number `first` on: see `SampleRow.since`."""
        return self._row.since(first)

    def load(self, record: OriginalRecord, samples: list[tuple[int, np.ndarray]]) -> None:
        """Go on where another one was; what is not among the samples is silent."""
        self._row = SampleRow()
        for first, part in samples:
            self._row.add(part, first)
        self._row.end = record.end
        self._seams = deque(record.seams)
        self._fed = deque(_Fed(*each) for each in record.fed)
        self._laid = deque(_Laid(*each) for each in record.laid)
        self._next = record.next_index, record.next_at

    def close(self) -> None:
        """Free what is kept."""
        self._row.clear()

    def _place(self, seq: int) -> int:
        """The first sample of a frame, counted from the begin of the stream."""
        return seq * self._rate // self._info.fps

    def _sample(self, index: int) -> int:
        """The client's sample with which this one of the copy begins."""
        limit = self._row.end
        for begin, first in reversed(self._seams):
            if begin <= index:
                return min(first + (index - begin) * self._rate // self._copy_rate, limit)
            limit = first
        return limit

    def _end_at(self, at: int) -> None:
        """What was laid is over here."""
        while self._laid and self._laid[-1].at >= at:
            self._laid.pop()
        if self._laid:
            last = self._laid[-1]
            last.end = min(last.end, last.first + at - last.at)
