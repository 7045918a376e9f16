"""An executor that writes down what its streams are asked for, and what became of it.

Pictures, images and video of clients are written only where they agreed to that: with the first
other one the log of its stream ends.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import numpy as np

from ...models.contract import Chunk, Controls, ModelInfo, StreamRequest
from ...models.pipeline.events import Dropped, Event, Finished, Lost, Restarted
from ...models.pipeline.executor import Executor
from ...models.pipeline.part_file import Part, bytes_of
from ...models.pipeline.past import Past
from ...models.pipeline.stage_plan import Costs
from ...models.yuv_frames import pixels_of
from ..bounded_folder import BoundedFile
from ..logs import logger
from . import records
from .records import AnyRecord, End, GoneOn, Header, Made, Step, encode_record
from .stream_logs import StreamLogs

_WITHHELD = "what follows depends on a picture, an image or video of the client"
_FULL = "the folder has no more room"


class Recorded:
    """`executor`, with a log in `logs` of each of its streams; see `Executor`.

    `model` and `arguments` are what `load_model` was told, `machine` what else counts.
    """

    def __init__(
        self,
        executor: Executor,
        logs: StreamLogs,
        *,
        model: str,
        arguments: dict[str, Any],
        machine: dict[str, str],
    ) -> None:
        self._executor = executor
        self._logs = logs
        self._model = model
        self._arguments = arguments
        self._machine = machine
        self._files: dict[str, BoundedFile] = {}
        self._parked: set[str] = set()
        """Streams that are or will be parked, whose logs go on when they do."""
        self._log = logger("rollcast.log")

    @property
    def costs(self) -> Costs | None:
        """See `Executor`."""
        return self._executor.costs

    @property
    def measured(self) -> bool:
        """See `Executor`."""
        return self._executor.measured

    @property
    def period_s(self) -> float:
        """See `Executor`."""
        return self._executor.period_s

    @property
    def info(self) -> ModelInfo:
        """See `Executor`."""
        return self._executor.info

    @property
    def depth(self) -> int:
        """See `Executor`."""
        return self._executor.depth

    @property
    def waiting(self) -> int:
        """See `Executor`."""
        return self._executor.waiting

    @property
    def parks(self) -> bool:
        """See `Executor`."""
        return self._executor.parks

    def start(self) -> None:
        """See `Executor`."""
        self._executor.start()

    def stop(self) -> None:
        """See `Executor`."""
        for stream in list(self._files):
            self._end(stream)
        self._executor.stop()

    def interrupt(self) -> None:
        """See `Executor`."""
        self._executor.interrupt()

    def open(self, stream: str, request: StreamRequest) -> None:
        """See `Executor`."""
        self._executor.open(stream, request)
        consent = self._logs.consents.of(stream)
        brought = request.picture is not None or request.image is not None
        if consent.written and (consent.pictures or not brought):
            self._begin(stream, request)

    def _begin(self, stream: str, request: StreamRequest) -> None:
        now = datetime.now()
        began = now.isoformat(timespec="seconds")
        header = Header(self._model, self._arguments, self._machine, request, began)
        try:
            self._files[stream] = self._logs.folder.begin(f"{now:%Y%m%d-%H%M%S}-{stream}")
        except OSError as error:
            self._log.error("a stream is not recorded", session_id=stream, reason=str(error))
        self._write(stream, header)

    def adopt(self, stream: str, past: Past) -> None:
        """See `Executor`. Its log here begins behind the snapshot, or goes on if it was parked."""
        self._executor.adopt(stream, past)
        if stream in self._parked:
            self._parked.discard(stream)
            if past.parts and past.small:
                self._write(stream, records.Rebuilt())
            return
        consent, request = self._logs.consents.of(stream), past.request
        brought = request.picture is not None or request.image is not None or consent.brought
        if not consent.written or (brought and not consent.pictures):
            return
        self._begin(stream, request)
        parts = {name: _bytes(part) for name, part in past.parts.items()}
        self._write(stream, GoneOn(past.behind, parts, past.shown_from, past.small, brought))
        for controls in past.controls:
            self._note_step(stream, controls)

    def submit(self, stream: str, controls: Controls) -> None:
        """See `Executor`."""
        self._executor.submit(stream, controls)
        self._note_step(stream, controls)

    def _note_step(self, stream: str, controls: Controls) -> None:
        brought = controls.picture is not None or controls.image is not None
        pictures = self._logs.consents.of(stream).pictures
        if (brought or len(controls.video)) and not pictures:
            self._end(stream, _WITHHELD)
        else:
            self._write(stream, Step(controls))

    def submit_together(self, chunks: Sequence[tuple[str, Controls]]) -> None:
        """See `Executor`."""
        self._executor.submit_together(chunks)
        for stream, controls in chunks:
            self._note_step(stream, controls)

    def drop(self, stream: str) -> None:
        """See `Executor`."""
        self._executor.drop(stream)

    def park(self, stream: str) -> None:
        """See `Executor`. Its log goes on where it does."""
        self._parked.add(stream)
        self._executor.park(stream)

    def close(self, stream: str) -> None:
        """See `Executor`."""
        self._parked.discard(stream)
        self._executor.close(stream)
        self._end(stream)

    def next_s(self, now_s: float, under_way: int) -> float | None:
        """See `Executor`."""
        return self._executor.next_s(now_s, under_way)

    def poll(self, timeout_s: float, others: Sequence[Any] = ()) -> list[Event]:
        """See `Executor`."""
        return self._noted(self._executor.poll(timeout_s, others))

    def finish(self) -> list[Event]:
        """See `Executor`."""
        return self._noted(self._executor.finish())

    def _noted(self, events: list[Event]) -> list[Event]:
        for event in events:
            match event:
                case Finished():
                    self._write(event.stream, made(event.chunk, event.rows))
                case Dropped():
                    self._write(event.stream, records.Dropped(event.rows))
                case Restarted(exact=False):
                    for stream in list(self._files):
                        self._write(stream, records.Rebuilt())
                case Lost():
                    self._end(event.stream, event.reason)
                case _:
                    pass
        return events

    def _write(self, stream: str, record: AnyRecord) -> None:
        file = self._files.get(stream)
        if file is None:
            return
        try:
            if not file.append(encode_record(record)):
                self._end(stream, _FULL)
        except OSError as error:
            self._log.error("a log breaks off", session_id=stream, reason=str(error))
            self._end(stream)

    def _end(self, stream: str, why: str = "") -> None:
        file = self._files.pop(stream, None)
        if file is None:
            return
        with file, suppress(OSError):
            if why:
                file.append(encode_record(End(why)))


def _bytes(part: bytes | Part) -> bytes:
    return part if isinstance(part, bytes) else bytes(bytes_of(part))


def made(chunk: Chunk, rows: int = 1) -> Made:
    """What is kept of a chunk to know it again, and that of `rows` it was one."""
    picture = zlib.crc32(np.ascontiguousarray(pixels_of(chunk.pictures)).data)
    sound = zlib.crc32(np.ascontiguousarray(chunk.audio).data)
    return Made(len(chunk.pictures), picture, sound, rows)
