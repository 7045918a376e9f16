"""A stage's end of its link to the executor: messages, a heartbeat, and the end of the process."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

from .control_link import BadMessage, link_to_executor
from .messages import Beat, FromStage, ToStage, Working

BEAT_S = 0.1
_PR_SET_PDEATHSIG = 1


class Heartbeat:
    """Both directions of a stage's control connection; any thread may `send`."""

    def __init__(self, connection: Connection) -> None:
        self._link = link_to_executor(connection)
        self._lock = threading.Lock()
        self._busy_since_s: float | None = None
        self._working = Working()

    def receive(self) -> ToStage:
        """The next message; ends the process when the executor is gone or talks nonsense."""
        try:
            return self._link.receive()
        except (EOFError, OSError):
            os._exit(0)
        except BadMessage as error:
            print(f"rollcast stage: {error}", file=sys.stderr)  # noqa: T201
            os._exit(1)

    def send(self, message: FromStage) -> None:
        """Tell the executor; ends the process when it is gone."""
        try:
            with self._lock:
                self._link.send(message)
        except OSError:
            os._exit(0)

    def beat(self) -> None:
        """From here on the heart beats."""
        threading.Thread(target=self._beat, name="heart", daemon=True).start()

    def listen(self, deliver: Callable[[ToStage], None]) -> None:
        """From here on messages are delivered, instead of `receive`."""
        threading.Thread(target=self._listen, args=(deliver,), name="control", daemon=True).start()

    @property
    def working(self) -> Working:
        """What this stage is at work for."""
        return self._working

    def work_for(self, stream: str | None = None, index: int | None = None) -> None:
        """Say what this stage is at work for from here on; nothing: it waits."""
        working = Working(stream, index)
        if working != self._working:
            self._working = working
            self.send(working)

    @contextmanager
    def busy(self) -> Iterator[None]:
        """A piece of work: if it never ends, the heartbeat tells.

        Within another one it is a piece by itself, and what follows it the next one.
        """
        within = self._busy_since_s is not None
        self._busy_since_s = time.monotonic()
        try:
            yield
        finally:
            self._busy_since_s = time.monotonic() if within else None

    def _listen(self, deliver: Callable[[ToStage], None]) -> None:
        while True:
            deliver(self.receive())

    def _beat(self) -> None:
        while True:
            since_s = self._busy_since_s
            self.send(Beat(0.0 if since_s is None else time.monotonic() - since_s))
            time.sleep(BEAT_S)


def die_with_parent() -> None:
    """Let the kernel end this process with its parent, even if it hangs or is stopped (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
