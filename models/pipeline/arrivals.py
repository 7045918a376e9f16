"""Waits for frames that are on their way from a GPU, so that the thread with the model need not."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass

from ..yuv_frames import YuvFrames


@dataclass(frozen=True, slots=True)
class Arrived:
    """Frames are there, or `error` says why they will never be."""

    error: Exception | None = None

    def check(self) -> None:
        """Raise what the device raised."""
        if self.error is not None:
            raise self.error


class Arrivals:
    """A thread that tells `tell`, in their order, of all frames that it is given."""

    def __init__(self, tell: Callable[[Arrived], None]) -> None:
        self._tell = tell
        self._coming: queue.SimpleQueue[YuvFrames] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def expect(self, frames: YuvFrames) -> None:
        """Tell when they are there."""
        if self._thread is None:
            # where frames never are on their way, on a CPU, there is none
            self._thread = threading.Thread(target=self._wait, name="arrivals", daemon=True)
            self._thread.start()
        self._coming.put(frames)

    def _wait(self) -> None:
        while True:
            frames = self._coming.get()
            try:
                frames.wait()
            except Exception as error:
                # what a device says of work that failed: it is the model's thread that ends of it
                self._tell(Arrived(error))
            else:
                self._tell(Arrived())
