"""Every call of a chunk after the other, here and now: the reference for the other executors."""

from __future__ import annotations

import time
from typing import Any

from ..contract import Controls, Model, StreamRequest
from .events import Finished
from .in_process import InProcess
from .messages import WorkSpan


class Sequential(InProcess[Model[Any], Any]):
    """An `Executor` that finishes each chunk as it is submitted, for any kind of model."""

    def _start(self, request: StreamRequest) -> Any:
        return self._model.start(request)

    def _admit(self, stream: str, kept: Any, controls: Controls) -> None:
        begin_s = time.monotonic()
        chunk = self._model.step(kept, controls)
        end_s = time.monotonic()
        span = WorkSpan(0, "chunk", begin_s, end_s)
        self._events.append(Finished(stream, chunk, end_s - begin_s, (span,)))
