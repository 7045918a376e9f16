"""The one stage of a model that is not taken apart: it steps whole chunks; free of torch."""

from __future__ import annotations

import time
from typing import Any

from ..contract import Model
from ..small_snapshots import small_snapshot
from .frame_arena import FrameArena
from .heartbeat import Heartbeat
from .messages import Assign, Open, Refused, Restore, Save, Step, WorkSpan
from .part_file import bytes_of, in_message, opened, pack_bytes
from .stage_loop import StageLoop

STATE = "state"


class WholeStage(StageLoop):
    """Every stream's whole state, under a plan of one stage and one call."""

    def __init__(self, model: Model[Any], heartbeat: Heartbeat, arena: FrameArena | None) -> None:
        super().__init__(heartbeat, arena)
        self._model = model
        self._states: dict[str, tuple[Any, int]] = {}
        """Each stream's state, and the index of its next chunk."""

    @property
    def _has_streams(self) -> bool:
        return bool(self._states)

    def _assign(self, message: Assign) -> None:
        self._states.clear()

    def _open(self, message: Open) -> None:
        self._states[message.stream] = self._model.start(message.request), 0

    def _step(self, message: Step) -> None:
        stream = message.stream
        if stream not in self._states:
            return
        state, index = self._states[stream]
        self._heartbeat.work_for(stream, index)
        begin_s = time.monotonic()
        try:
            with self._heartbeat.busy():
                chunk = self._model.step(state, message.controls)
        except ValueError as error:
            self._heartbeat.send(Refused(stream, str(error)))
            return
        self._states[stream] = state, index + 1
        spans = (WorkSpan(0, "chunk", begin_s, time.monotonic()),)
        self._tell(stream, index, None if self._is_dropped(stream, index) else chunk, spans)
        if message.snapshot:
            self._save_whole(stream, index, state)
        if message.small:
            self._hand_over(
                stream,
                index,
                lambda: {STATE: pack_bytes(small_snapshot(self._model, state), in_message)},
                1,
                small=True,
            )

    def _save_whole(self, stream: str, index: int, state: Any) -> None:
        room = self._room(stream, index, STATE)
        self._hand_over(
            stream, index, lambda: {STATE: pack_bytes(self._model.snapshot(state), room)}, 1
        )

    def _save_now(self, message: Save) -> None:
        if message.stream in self._states:
            state, _ = self._states[message.stream]
            self._save_whole(message.stream, message.index, state)

    def _close(self, stream: str) -> None:
        self._states.pop(stream, None)
        self._dropped.pop(stream, None)
        self._forget_saved(stream)

    def _restore(self, message: Restore) -> None:
        state = self._model.restore(bytes(bytes_of(opened(message.parts)[STATE])))
        self._states[message.stream] = state, message.next_index
