"""The utterances that a client has named: where in media time each is heard, and how far it came.

Samples are counted at the model's rate, from the first that was ever queued. A step is fed a
stretch of them, and the chunk that it makes says at which media time the stretch is heard.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from msgspec import Struct

from ...models.contract import ModelInfo
from ..protocol.errors import InvalidField, RateLimited
from ..protocol.limits import MAX_ITEMS
from ..protocol.server_messages import Speech, SpeechPhase


@dataclass(slots=True)
class _Item:
    """An utterance of the samples `first` to `end` (None: more may come); `sent` by the client."""

    item_id: str
    first: int
    end: int | None = None
    sent: int = 0
    started: bool = False


@dataclass(frozen=True, slots=True)
class _Stretch:
    """So many samples from `first` on, the first of them heard at `start_us`."""

    first: int
    count: int
    start_us: float

    @property
    def end(self) -> int:
        return self.first + self.count


class UtterancesRecord(Struct, frozen=True):
    """Items (id, first, end, sent, started), whether the last is open, and what was fed when."""

    items: list[tuple[str, int, int | None, int, bool]]
    open: bool
    fed: list[tuple[int, int]]
    placed: list[tuple[int, int, float]]
    settled: int
    heard: int


class Utterances:
    """What is known of each item until it is over; `audio_rate` is the client's."""

    def __init__(self, info: ModelInfo, audio_rate: int) -> None:
        self._rate = info.sample_rate or audio_rate
        self._lookahead_us = info.lookahead_ms * 1e3
        self._audio_rate = audio_rate
        self._items: deque[_Item] = deque()
        self._open: _Item | None = None
        self._fed: deque[tuple[int, int]] = deque()
        """What steps under way were fed: the first sample and how many."""
        self._placed: deque[_Stretch] = deque()
        self._settled = 0
        """Samples before this one were placed, or will never be heard."""
        self._heard = 0

    @property
    def item_ids(self) -> list[str]:
        """Those that are not over, in order."""
        return [item.item_id for item in self._items]

    def record(self) -> UtterancesRecord:
        """What another one needs to go on from here."""
        return UtterancesRecord(
            items=[(i.item_id, i.first, i.end, i.sent, i.started) for i in self._items],
            open=self._open is not None,
            fed=list(self._fed),
            placed=[(each.first, each.count, each.start_us) for each in self._placed],
            settled=self._settled,
            heard=self._heard,
        )

    def load(self, record: UtterancesRecord) -> None:
        """Go on where another one was."""
        self._items = deque(_Item(*each) for each in record.items)
        self._open = self._items[-1] if record.open and self._items else None
        self._fed = deque(record.fed)
        self._placed = deque(_Stretch(*each) for each in record.placed)
        self._settled, self._heard = record.settled, record.heard

    def check_new(self, item_id: str, event_id: str) -> None:
        """Raise InvalidField for an id that is not over, RateLimited for too many."""
        if item_id in self.item_ids:
            raise InvalidField(
                f"the utterance {item_id!r} is not over",
                field="item_id",
                hint="Give every utterance an item_id of its own.",
                event_id=event_id,
            )
        if len(self._items) >= MAX_ITEMS:
            raise RateLimited(f"{MAX_ITEMS} utterances wait already", event_id=event_id)

    def begin(self, item_id: str, index: int) -> None:
        """What is queued from sample `index` on is this utterance; the one before is complete."""
        self.end(index)
        self._open = _Item(item_id, index)
        self._items.append(self._open)

    def check_open(self, item_id: str | None, event_id: str) -> None:
        """Raise InvalidField unless this utterance, if one is named, is the one being sent."""
        if item_id is not None and (self._open is None or self._open.item_id != item_id):
            raise InvalidField(
                f"the utterance {item_id!r} is not being sent",
                field="item_id",
                hint="End the utterance of the last audio.begin, or leave item_id out.",
                event_id=event_id,
            )

    def sent(self, count: int) -> None:
        """So many samples came from the client, counted at its own rate."""
        if self._open is not None:
            self._open.sent += count

    def end(self, index: int) -> None:
        """No more of the utterance will come: it ends before sample `index`."""
        if self._open is not None:
            self._open.end = index
            self._open = None

    def fed(self, first: int, count: int) -> None:
        """A step begins with these samples; what came before them was fed or left out."""
        self._fed.append((first, count))

    def placed(self, sample: int) -> None:
        """The oldest step came out: what it was fed is heard from this sample of the stream on.

        Later than that by the model's look-ahead.
        """
        first, count = self._fed.popleft()
        self._settled = max(self._settled, first + count)
        if count and self._items:
            start_us = sample * 1e6 / self._rate + self._lookahead_us
            self._placed.append(_Stretch(first, count, start_us))

    def dropped(self) -> None:
        """The oldest step is not shown, and nobody hears what it was fed."""
        self._settled = max(self._settled, sum(self._fed.popleft()))

    def told(self, position_us: float) -> list[Speech]:
        """What began and ended up to this media time and was not told yet."""
        self._heard = max(self._heard, self._heard_at(position_us))
        news: list[Speech] = []
        while self._items:
            item = self._items[0]
            begin_us = self._begin_us(item)
            if not item.started and begin_us is not None and begin_us <= position_us:
                item.started = True
                news.append(self._speech(item, "started", begin_us, 0))
            end_us = self._end_us(item, position_us)
            if end_us is None or end_us > position_us:
                break
            news.append(self._speech(item, "ended", end_us, item.sent))
            self._items.popleft()
        self._forget()
        return news

    def clear(
        self, position_us: float, index: int, *, whole: bool
    ) -> tuple[list[Speech], Speech | None]:
        """Nothing of what is not heard yet will be, up to sample `index`.

        What is told of each utterance, and the one that was the first to be cut, if any was.
        `whole`: all that was sent is queued up to there. So the utterance that is being sent has
        ended, and was not cut, if that was heard to its last sample.
        """
        if whole and self._open is not None and self._open.sent:
            self.end(index)
        news = self.told(position_us)
        cut = [
            self._speech(item, "cleared", position_us, self._played(item)) for item in self._items
        ]
        self._items.clear()
        self._placed.clear()
        self._open = None
        self._settled = self._heard = index
        self._fed = deque((first, 0) for first, _ in self._fed)
        return news + cut, cut[0] if cut else None

    def _heard_at(self, position_us: float) -> int:
        heard = 0
        for stretch in self._placed:
            if stretch.start_us <= position_us:
                samples = int((position_us - stretch.start_us) * self._rate / 1e6 + 1e-6)
                heard = max(heard, stretch.first + min(stretch.count, samples))
        return heard

    def _begin_us(self, item: _Item) -> float | None:
        """When its first sample that is heard at all is heard; None: not known yet."""
        for stretch in self._placed:
            first = max(item.first, stretch.first)
            if first < stretch.end and (item.end is None or first < item.end):
                return self._time_us(stretch, first)
        return None

    def _end_us(self, item: _Item, position_us: float) -> float | None:
        """When its last sample is over; None: more may come, or it is not known yet."""
        if item.end is None or self._settled < item.end:
            return None
        for stretch in reversed(self._placed):
            end = min(item.end, stretch.end)
            if stretch.first < end and item.first < end:
                return self._time_us(stretch, end)
        return position_us

    def _time_us(self, stretch: _Stretch, index: int) -> float:
        return stretch.start_us + (index - stretch.first) * 1e6 / self._rate

    def _played(self, item: _Item) -> int:
        heard = max(0, self._heard - item.first)
        return min(item.sent, round(heard * self._audio_rate / self._rate))

    def _speech(self, item: _Item, phase: SpeechPhase, pts_us: float, samples: int) -> Speech:
        played_ms = samples * 1000 / self._audio_rate
        return Speech(
            item_id=item.item_id, phase=phase, pts_us=pts_us, samples=samples, played_ms=played_ms
        )

    def _forget(self) -> None:
        """Keep only what an utterance that is not over may still be asked about."""
        first = self._items[0].first if self._items else None
        while self._placed and (first is None or self._placed[0].end <= first):
            self._placed.popleft()
        while len(self._placed) > 1 and self._placed[1].end <= self._heard:
            self._placed.popleft()
