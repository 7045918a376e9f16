"""What has to be kept of a stream outside of its stages, so that they may be lost at any moment.

A snapshot that all stages took behind the same chunk, and the controls since: replaying them gives
the same stream bit for bit, so a restart is a pause and nothing else. Where whole snapshots would
be too large it goes on from small ones, which look the same (`small_snapshots`).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil

from ..contract import Controls
from .messages import Open, Restore
from .part_file import Part, PartFile, bytes_of, told
from .past import Past
from .small_series import SmallSeries

SNAPSHOT_CHUNKS = 16
MOST_TIMES = 8
"""So many times as rare do snapshots become that take long, at most."""
SNAPSHOT_SHARE = 0.05
"""See `ReplayLog.snapshot_share`."""
MOST_HELD_BYTES = 1 << 28
"""Of video and pictures in controls since a snapshot was asked for: then the next one is asked for
at once. A log holds no more than that and what comes while a snapshot is taken."""


@dataclass(slots=True)
class _Coming:
    """A snapshot that stages are handing over."""

    parts: dict[str, Part] = field(default_factory=dict)
    took_chunks: float = 0.0
    """Saving it took the stages as long as so many chunks."""
    whole: bool = False
    """Whether all parts have come."""


@dataclass(slots=True)
class ReplayLog:
    """One stream: how it began, its latest snapshot, its controls since, what was delivered."""

    opened: Open
    snapshot_share: float = SNAPSHOT_SHARE
    """Of the time that chunks take, at most, goes into snapshots, down to the rarest of them."""
    snapshot_chunks: int = SNAPSHOT_CHUNKS
    """So many chunks lie between two snapshots at least."""
    exact: bool = True
    """Whether the stream goes on from whole snapshots; else from those of `small`."""
    tells_whole: bool = False
    """Which of them `newly_saved` is about."""
    small: SmallSeries = field(default_factory=SmallSeries)
    next_index: int = 0
    delivered: int = -1
    shown_from: int = 0
    """Chunks before this one were dropped."""
    failures: Counter[int] = field(default_factory=Counter)
    """How often stages were lost at work for a chunk; forgotten once the stream gets beyond it."""
    every: int = field(init=False)
    """So many chunks lie between two snapshots now, `snapshot_chunks` or, where the latest took
    long, a multiple."""
    _controls: deque[tuple[int, Controls]] = field(default_factory=deque)
    _rows: dict[int, int] = field(default_factory=dict)
    """Of chunks since the snapshot that were made in a batch: how many rows it had."""
    _snapshot: tuple[int, dict[str, Part]] | None = None
    """Behind which chunk, and its parts."""
    _is_small: bool = False
    """Which kind that is of."""
    _told: tuple[int, dict[str, Part]] | None = None
    """The newest one that is told of, until somebody has asked for it."""
    _coming: dict[int, _Coming] = field(default_factory=dict)
    """By the chunk behind which they are."""
    _held_bytes: int = 0
    _asked_bytes: int = 0
    """Of those held: what came before the latest snapshot was asked for."""

    def __post_init__(self) -> None:
        self.every = self.snapshot_chunks

    def go_on(self, past: Past) -> None:
        """Be the log of a stream which another executor began."""
        self.next_index = past.behind + 1
        for controls in past.controls:
            self.add(controls)
        self._rows = {index: rows for index, rows in past.rows.items() if index > past.behind}
        self.delivered, self.shown_from = past.shown_from - 1, past.shown_from
        if past.parts:
            parts = {k: _part(part) for k, part in past.parts.items()}
            self._snapshot, self._is_small = (past.behind, parts), past.small

    @property
    def past(self) -> Past:
        """What the stream has behind it; of what came out nothing should come out again."""
        behind, parts = (-1, {}) if self._snapshot is None else self._snapshot
        return Past(
            request=self.opened.request,
            parts=dict(parts),
            behind=behind,
            controls=[controls for _, controls in self._controls],
            shown_from=self.delivered + 1,
            rows=dict(self._rows),
            small=self._is_small,
        )

    def newly_saved(self) -> tuple[int, dict[str, bytes], int] | None:
        """A snapshot, behind which chunk it is, and the first chunk that may be shown of what is
        made from it; each but once."""
        told, self._told = self._told, None
        if told is None:
            return None
        index, parts = told
        saved = {name: bytes(bytes_of(part)) for name, part in parts.items()}
        return index, saved, index + 1 if self.tells_whole else self.small.shown_from(index)

    @property
    def key(self) -> str:
        """The stream's name for the stages."""
        return self.opened.stream

    @property
    def goes_on_exactly(self) -> bool:
        """Whether what it would go on from gives the same stream bit for bit."""
        return self._snapshot is None or not self._is_small

    @property
    def settled(self) -> int | None:
        """Behind which chunk the snapshot is that the stream would go on from, if there is one."""
        return None if self._snapshot is None else self._snapshot[0]

    def add(self, controls: Controls) -> int:
        """Note the controls of the next chunk; its index."""
        index, self.next_index = self.next_index, self.next_index + 1
        self._held_bytes += _bytes(controls)
        self._controls.append((index, controls))
        return index

    def wants_snapshot(self, index: int) -> bool:
        """Whether a whole snapshot should be taken behind this chunk."""
        wanted = self.exact and (self._is_full or index % self.every == self.every - 1)
        if wanted:
            self._asked_bytes = self._held_bytes
        return wanted

    def wants_small(self, index: int) -> bool:
        """Whether a small one should be."""
        wanted = self.small.wants(index) or (not self.exact and self._is_full)
        if wanted and not self.exact:
            self._asked_bytes = self._held_bytes
        return wanted

    @property
    def _is_full(self) -> bool:
        return self._held_bytes - self._asked_bytes > MOST_HELD_BYTES

    def deliver(self, index: int, rows: int = 1) -> bool:
        """A chunk came out of a batch of `rows`; whether it is new, for a replay repeats some."""
        new = index > self.delivered
        if new and rows > 1:
            self._rows[index] = rows
        self.delivered = max(index, self.delivered)
        if new:
            self.failures = Counter({k: n for k, n in self.failures.items() if k > index})
        self._settle()
        return new

    def take_part(
        self, index: int, parts: Mapping[str, Part], count: int, took_chunks: float = 0.0
    ) -> None:
        """A stage's parts of the snapshot behind chunk `index`, of `count` in all.

        Saving them took the stage as long as so many chunks. The first two of a stream take
        longest: later ones find memory where those were.
        """
        coming = self._coming.setdefault(index, _Coming())
        coming.parts.update(parts)
        coming.took_chunks += took_chunks
        # of one that is not whole when the second one after it comes, a stage had no memory for
        # its part
        for left in sorted(self._coming)[:-2]:
            del self._coming[left]
        if len(coming.parts) == count:
            coming.whole = True
            times = ceil(coming.took_chunks / (self.snapshot_share * self.snapshot_chunks))
            self.every = min(max(1, times), MOST_TIMES) * self.snapshot_chunks
        self._settle()

    def take_small(self, index: int, parts: Mapping[str, Part], count: int) -> None:
        """A stage's parts of a small one."""
        self.small.take(index, parts, count)
        self._settle()

    def failed(self, index: int | None) -> int:
        """A stage was lost at work for a chunk, None: the next one; how often that happened."""
        chunk = self.delivered + 1 if index is None else index
        self.failures[chunk] += 1
        return self.failures[chunk]

    def begin_again(self) -> tuple[Open | Restore, list[tuple[int, Controls, int]]]:
        """How fresh stages take the stream over, and what to replay: a chunk's index, its controls,
        and how many rows the batch had that it was delivered from, 1 if it was not."""
        self._coming.clear()
        self.small.clear()
        # what was asked for is gone with them
        self._asked_bytes = 0
        replay = [(index, controls, self._rows.get(index, 1)) for index, controls in self._controls]
        if self._snapshot is None:
            return self.opened, replay
        index, parts = self._snapshot
        return Restore(self.key, index + 1, told(parts), self._is_small), replay

    def _settle(self) -> None:
        """Let a snapshot replace the controls before it, once all of it is there.

        Not before its chunk was delivered: that one could not be made again.
        """
        self._told = self.small.newest(self.delivered) or self._told
        ripe = self.small.ripe(self.delivered)
        if ripe is not None and not self.exact:
            self._go_from(*ripe, small=True)
        complete = [k for k, each in self._coming.items() if each.whole and k <= self.delivered]
        if complete:
            newest = max(complete)
            if self.tells_whole:
                self._told = newest, self._coming[newest].parts
            self._go_from(newest, self._coming[newest].parts, small=False)
            self._coming = {k: each for k, each in self._coming.items() if k > newest}

    def _go_from(self, newest: int, parts: dict[str, Part], *, small: bool) -> None:
        self._snapshot, self._is_small = (newest, parts), small
        while self._controls and self._controls[0][0] <= newest:
            index, done = self._controls.popleft()
            self._rows.pop(index, None)
            self._held_bytes -= _bytes(done)
            self._asked_bytes = max(0, self._asked_bytes - _bytes(done))


def _part(part: bytes | Part) -> Part:
    return part if isinstance(part, PartFile) else memoryview(part)


def _bytes(controls: Controls) -> int:
    """What is large in them."""
    pictures = (controls.picture, controls.image)
    return controls.video.nbytes + sum(len(each) for each in pictures if each is not None)
