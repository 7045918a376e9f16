"""A log made again: the same model, request and controls, chunk by chunk, compared on the way."""

from __future__ import annotations

import zipfile
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from msgspec import structs

from ...models.contract import Chunk, Controls, Model
from ...models.pipeline.events import Finished, Lost
from ...models.pipeline.executor import Executor
from ...models.pipeline.past import Past
from .recorded import made
from .records import Dropped, End, GoneOn, Header, Made, NoLog, Rebuilt, Step, read_records

_REPLAYED = "replayed"
IN_BUNDLE = "stream.rclog"
WITHHELD = "what follows depends on what the client has shown, which was left out"


@dataclass(frozen=True, slots=True)
class StreamLog:
    """A log as a whole: each step with what became of its chunk, None where the log ends before."""

    header: Header
    steps: list[tuple[Step, Made | Dropped | None]]
    why: str = ""
    """Why it ends, if it says so."""
    rebuilt: tuple[int, ...] = ()
    """Before these steps were done, by their numbers, the model was lost and its caches rebuilt."""
    gone_on: GoneOn | None = None
    """Where another server had begun the stream."""

    @property
    def hidden(self) -> int:
        """How many of the first steps were made to go on, and not shown."""
        gone_on = self.gone_on
        return 0 if gone_on is None else gone_on.shown_from - gone_on.behind - 1

    @property
    def has_pictures(self) -> bool:
        """Whether there is anything in it that a client has shown."""
        request = self.header.request
        told = any(_brings(step) for step, _ in self.steps)
        return request.picture is not None or request.image is not None or told

    def without_pictures(self) -> StreamLog:
        """Up to the first chunk that depends on what a client has shown."""
        request = replace(self.header.request, picture=None, image=None)
        if request != self.header.request or (self.gone_on is not None and self.gone_on.brought):
            return StreamLog(structs.replace(self.header, request=request), [], WITHHELD)
        first = next((k for k, (step, _) in enumerate(self.steps) if _brings(step)), None)
        if first is None:
            return self
        rebuilt = tuple(k for k in self.rebuilt if k < first)
        return StreamLog(self.header, self.steps[:first], WITHHELD, rebuilt, self.gone_on)


@dataclass(slots=True)
class Comparison:
    """How the chunks of a replay compare with those of the log, by their numbers."""

    same: int = 0
    unknown: int = 0
    """That the log says nothing of: it ends before."""
    different: list[int] = field(default_factory=list)
    what: str = ""
    """Of the first that differs: its frames, its sound, how many there are."""

    def add(self, number: int, then: Made | None, chunk: Chunk, rows: int) -> None:
        """A chunk that was made again as one of `rows`; `then` is what it was."""
        if then is None:
            self.unknown += 1
        elif (now := made(chunk, rows)) == then:
            self.same += 1
        else:
            self.what = self.what or _what(then, now)
            self.different.append(number)


def read_log(path: Path) -> StreamLog:
    """A log, or the one in a bundle. Raises OSError, and NoLog for a file that has none."""
    if zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as bundle, bundle.open(IN_BUNDLE) as file:
                return _read(file)
        except KeyError as error:
            raise NoLog(f"{path} is no bundle of `rollcast replay`") from error
    with path.open("rb") as file:
        return _read(file)


def replay(model: Model[Any], log: StreamLog, compared: Comparison) -> Iterator[Chunk]:
    """Make the chunks that were shown, and note in `compared` how they came out.

    Raises ValueError for what the model refuses, and for a log that needs `replay_behind`.
    """
    if log.gone_on is not None:
        raise ValueError("the log begins behind a snapshot, which a model alone cannot go on from")
    state = model.start(log.header.request)
    number = 0
    for step, then in log.steps:
        rows = 1 if then is None else then.rows
        chunk = _made_again(model, state, step.controls, rows)
        if isinstance(then, Dropped):
            continue
        compared.add(number, then, chunk, rows)
        number += 1
        yield chunk


def replay_behind(executor: Executor, log: StreamLog, compared: Comparison) -> Iterator[Chunk]:
    """The same with an executor that was started, for a log that begins behind a snapshot.

    Raises ValueError for what the model refuses.
    """
    gone_on = log.gone_on
    assert gone_on is not None, "the log begins behind a snapshot"
    first = gone_on.behind + 1
    rows = {first + k: then.rows for k, (_, then) in enumerate(log.steps) if then is not None}
    past = Past(
        request=log.header.request,
        parts=gone_on.parts,
        behind=gone_on.behind,
        controls=[step.controls for step, _ in log.steps],
        shown_from=gone_on.shown_from,
        rows=rows,
        small=gone_on.small,
    )
    executor.adopt(_REPLAYED, past)
    try:
        for number, (_, then) in enumerate(log.steps[log.hidden :], gone_on.shown_from):
            chunk = _next(executor)
            if isinstance(then, Dropped):
                continue
            compared.add(number, then, chunk, 1 if then is None else then.rows)
            yield chunk
    finally:
        executor.close(_REPLAYED)


def _next(executor: Executor) -> Chunk:
    while True:
        for event in executor.poll(1.0):
            if isinstance(event, Lost):
                raise ValueError(event.reason)
            if isinstance(event, Finished):
                return event.chunk


def _made_again(model: Model[Any], state: Any, controls: Controls, rows: int) -> Chunk:
    if rows == 1:
        return model.step(state, controls)
    # here, for a model that makes batches has torch anyway
    from ...models.staged_model import step_as_row

    return step_as_row(model, state, controls, rows)


def _what(then: Made, now: Made) -> str:
    if then.frames != now.frames:
        return f"it has {now.frames} frames in place of {then.frames}"
    return "its pictures" if then.picture_crc != now.picture_crc else "its sound"


def _read(file: IO[bytes]) -> StreamLog:
    every = read_records(file)
    header = next(every, None)
    if not isinstance(header, Header):
        raise NoLog("the log ends before it says of which model it is")
    steps: list[tuple[Step, Made | Dropped | None]] = []
    waiting: deque[int] = deque()
    rebuilt: list[int] = []
    gone_on: GoneOn | None = None
    hidden = 0
    for record in every:
        match record:
            case GoneOn() if not steps:
                gone_on, hidden = record, record.shown_from - record.behind - 1
            case Step():
                if len(steps) >= hidden:
                    waiting.append(len(steps))
                steps.append((record, None))
            case Made() | Dropped() if waiting:
                number = waiting.popleft()
                steps[number] = (steps[number][0], record)
            case Rebuilt():
                rebuilt.append(waiting[0] if waiting else len(steps))
            case End():
                return StreamLog(header, steps, record.why, tuple(rebuilt), gone_on)
            case _:
                raise NoLog("the records of the log are not in an order that makes sense")
    return StreamLog(header, steps, rebuilt=tuple(rebuilt), gone_on=gone_on)


def _brings(step: Step) -> bool:
    told = step.controls
    return told.picture is not None or told.image is not None or len(told.video) > 0
