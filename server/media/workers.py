"""Threads for calls into codecs: none of them may hold up a stream, the others or the end.

A call that hangs cannot be ended from outside, so its thread is given up and another one takes its
place. It is a daemon: the process ends without it.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

LIMIT_S = 5.0
MOST_HUNG = 16
_SLICE_S = 0.25
_JOIN_S = 1.0

T = TypeVar("T")


class Hung(Exception):
    """A call did not come back in time; nothing will come of it."""


class Workers:
    """So many threads; a call of theirs that takes longer than `limit_s` is given up.

    With `most_hung` given up at once no more calls are taken until one of them comes back.
    """

    def __init__(self, count: int, *, limit_s: float = LIMIT_S, most_hung: int = MOST_HUNG) -> None:
        self._limit_s = limit_s
        self._most_hung = most_hung
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._watched: set[_Job] = set()
        self._hung = 0
        self._watching = False
        self._threads = [self._start() for _ in range(count)]

    @property
    def hung(self) -> int:
        """Calls that were given up and have not come back."""
        return self._hung

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` gives, called in a thread. Raises Hung, or what it raises."""
        if self._hung >= self._most_hung:
            raise Hung(f"{self._hung} calls hang already")
        loop = asyncio.get_running_loop()
        job = _Job(work, loop, loop.create_future())
        self._watched.add(job)
        self._jobs.put(job)
        if not self._watching:
            self._watching = True
            loop.call_later(_SLICE_S, self._watch, loop)
        try:
            return await job.result
        finally:
            # the traceback of what was raised must not keep what the call was about
            del job

    def close(self) -> None:
        """End the threads that do not hang."""
        for _ in self._threads:
            self._jobs.put(None)
        end_s = time.monotonic() + _JOIN_S
        for thread in self._threads:
            thread.join(max(0.0, end_s - time.monotonic()))
        self._threads.clear()

    # Private.

    def _start(self) -> threading.Thread:
        thread = threading.Thread(target=self._serve, name="codec", daemon=True)
        thread.start()
        return thread

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.running = True
            value, error = None, None
            try:
                # nobody may wait for it any more
                value = None if job.result.cancelled() else job.work()
            except BaseException as raised:
                error = raised
            with self._lock:
                job.running = False
                given_up = job.given_up
                self._hung -= given_up
            if given_up:
                return
            # it may be closed by now
            with contextlib.suppress(RuntimeError):
                job.loop.call_soon_threadsafe(self._settle, job, value, error)
            del job, value, error

    def _settle(self, job: _Job, value: Any, error: BaseException | None) -> None:
        self._watched.discard(job)
        if job.result.done():
            return
        if error is None:
            job.result.set_result(value)
        else:
            job.result.set_exception(error)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Count how long calls have run; time in which this loop stood still too does not count."""
        for job in list(self._watched):
            job.slices += job.running
            if job.slices * _SLICE_S > self._limit_s:
                self._give_up(job)
        self._watching = bool(self._watched)
        if self._watching:
            loop.call_later(_SLICE_S, self._watch, loop)

    def _give_up(self, job: _Job) -> None:
        with self._lock:
            if not job.running:
                return
            job.given_up = True
            self._hung += 1
        self._watched.discard(job)
        self._threads = [each for each in self._threads if each.is_alive()]
        self._threads.append(self._start())
        if not job.result.done():
            job.result.set_exception(Hung(f"it did not come back within {self._limit_s:g} s"))


class _Job:
    """A call, and who waits for it; `running` and `given_up` change under the lock."""

    def __init__(
        self, work: Callable[[], Any], loop: asyncio.AbstractEventLoop, result: asyncio.Future[Any]
    ) -> None:
        self.work = work
        self.loop = loop
        self.result = result
        self.running = False
        self.given_up = False
        self.slices = 0
