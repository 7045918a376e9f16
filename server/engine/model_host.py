"""A thread that drives one model's executor: calls go in, events come out.

The server calls from its event loop and is told by the `report` callback, which it makes safe to
call from here. The executor's own thread is this one; the model itself runs in processes of the
executor's, so nothing that it does can take the server down.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...models.contract import Controls, ModelInfo, StreamRequest
from ...models.pipeline.backoff import Backoff
from ...models.pipeline.events import Event, Finished, Restarted, Restarting
from ...models.pipeline.executor import Executor
from ...models.pipeline.past import Past
from ...models.pipeline.pipeline import PipelineFailed
from ...models.wan.text.reader import TextReader
from ..stream_log.stream_logs import StreamLogs

MAX_CALLS = 1024
JOIN_S = 5.0
_POLL_S = 0.1
# whoever waits for a model that fails as a whole, beside others that work, waits longer and longer
_BACKOFF = Backoff(first_s=0.5, most_s=300.0)


@dataclass(frozen=True, slots=True)
class Ready:
    """The model is loaded and warm; a chunk keeps its slowest part at work for `step_s`.

    It takes `latency_s` longer than that where several are under way at once. If it is not
    `measured`, `step_s` is that of one chunk alone, for a while.
    """

    info: ModelInfo
    step_s: float
    latency_s: float
    measured: bool = True


@dataclass(frozen=True, slots=True)
class Failed:
    """The model cannot be made, or whatever drives it broke: its streams are lost.

    It is tried again until the host is stopped; `Ready` tells when that worked. `reason` is one
    line, `detail` all that is known; both may quote an exception.
    """

    reason: str
    detail: str


HostEvent = Event | Ready | Failed
Report = Callable[[HostEvent], None]


class ModelHost:
    """Owns the thread and the executor of model `name`; its methods are called from one thread."""

    def __init__(
        self,
        name: str,
        make: Callable[[], Executor],
        *,
        reader: TextReader | None = None,
        logs: StreamLogs | None = None,
        backoff: Backoff = _BACKOFF,
    ) -> None:
        """`make` gives the executor; it is called in the thread and may block.

        After each failure another one is made, after pauses of `backoff`. `reader` reads the
        model's prompts, where that takes long; it ends with the host. `logs` are those of its
        streams, if any are written.
        """
        self.name = name
        self.logs = logs
        self.reader = reader
        self._make = make
        self._backoff = backoff
        self._stopping = threading.Event()
        self._calls: queue.Queue[Callable[[Executor], None] | None] = queue.Queue(MAX_CALLS)
        self._executor: Executor | None = None
        self._serving = False
        self._worked = False
        """Whether the present executor has made a chunk of a stream."""
        self._thread: threading.Thread | None = None
        self._wake_end, self._wake_begin = os.pipe()
        os.set_blocking(self._wake_end, False)
        os.set_blocking(self._wake_begin, False)

    @property
    def depth(self) -> int:
        """Chunks that may be under way at once."""
        return 1 if self._executor is None else self._executor.depth

    @property
    def parks(self) -> bool:
        """Whether streams can be parked."""
        return self._executor is not None and self._executor.parks

    @property
    def behind(self) -> bool:
        """Whether so many calls wait that no new stream should be opened."""
        return self._calls.qsize() > MAX_CALLS // 2

    def next_s(self, now_s: float, under_way: int) -> float | None:
        """When one more chunk may be submitted; None: something has to be reported first."""
        executor = self._executor
        return executor.next_s(now_s, under_way) if executor and self._serving else None

    def start(self, report: Report) -> None:
        """Start loading; `report` is called from the thread with everything that happens."""
        assert self._thread is None, "a host starts once"
        self._thread = threading.Thread(
            target=self._run, args=(report,), name=f"model-{self.name}", daemon=True
        )
        self._thread.start()

    def open(self, stream: str, request: StreamRequest) -> None:
        """As `Executor.open`."""
        self._call(lambda executor: executor.open(stream, request))

    def adopt(self, stream: str, past: Past) -> None:
        """As `Executor.adopt`."""
        self._call(lambda executor: executor.adopt(stream, past))

    def submit(self, stream: str, controls: Controls) -> None:
        """As `Executor.submit`."""
        self._call(lambda executor: executor.submit(stream, controls))

    def submit_together(self, chunks: Sequence[tuple[str, Controls]]) -> None:
        """As `Executor.submit_together`."""
        self._call(lambda executor: executor.submit_together(chunks))

    def drop(self, stream: str) -> None:
        """As `Executor.drop`."""
        self._call(lambda executor: executor.drop(stream))

    def park(self, stream: str) -> None:
        """As `Executor.park`."""
        self._call(lambda executor: executor.park(stream))

    def close(self, stream: str) -> None:
        """As `Executor.close`."""
        self._call(lambda executor: executor.close(stream))

    def stop(self) -> None:
        """End the thread behind the calls before this one, and wait for it, `JOIN_S` at most."""
        self._stopping.set()
        if self._thread is not None and self._thread.is_alive():
            with contextlib.suppress(queue.Full):
                self._calls.put_nowait(None)
            executor = self._executor
            if executor is not None:
                executor.interrupt()
            self._wake()
            self._thread.join(JOIN_S)
        if self.reader is not None:
            self.reader.close()

    # Private.

    def _call(self, call: Callable[[Executor], None]) -> None:
        """Queue a call. While `behind` is heeded it fits: an `open` leaves room for its `close`."""
        self._calls.put_nowait(call)
        self._wake()

    def _wake(self) -> None:
        # full: it will wake all the same
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_begin, b"\0")

    def _run(self, report: Report) -> None:
        failures = 0
        while not self._stopping.is_set():
            self._worked = False
            failed = self._live(report)
            if failed is None or self._stopping.is_set():
                return
            report(failed)
            failures = 1 if self._worked else failures + 1
            self._pause(self._backoff.pause_s(failures))

    def _live(self, report: Report) -> Failed | None:
        """Make an executor and drive it; None: until it was stopped."""
        # Whatever goes wrong in here must reach the viewers: no silent dead thread.
        executor: Executor | None = None
        try:
            executor = self._executor = self._make()
            executor.start()
            report(_ready(executor))
            self._serving = True
            self._serve(executor, report)
        except PipelineFailed as error:
            reason, _, detail = str(error).partition("\n")
            return Failed(reason, detail)
        except Exception as error:
            return Failed(f"{type(error).__name__}: {error}", traceback.format_exc())
        finally:
            self._serving = False
            self._executor = None
            if executor is not None:
                executor.stop()
        return None

    def _pause(self, pause_s: float) -> None:
        """Let time pass; what is asked for meanwhile is of streams that were lost."""
        end_s = time.monotonic() + pause_s
        while (left_s := end_s - time.monotonic()) > 0:
            with contextlib.suppress(queue.Empty):
                if self._calls.get(timeout=left_s) is None:
                    return

    def _serve(self, executor: Executor, report: Report) -> None:
        while True:
            with contextlib.suppress(queue.Empty):
                while True:
                    call = self._calls.get_nowait()
                    if call is None:
                        for event in executor.poll(0.0):
                            report(event)
                        return
                    call(executor)
            pause_s = 0.0 if self._calls.qsize() else _POLL_S
            for event in executor.poll(pause_s, [self._wake_end]):
                if isinstance(event, Restarting | Restarted):
                    self._serving = isinstance(event, Restarted)
                self._worked = self._worked or isinstance(event, Finished)
                report(event)
            # Always, or a call that was already taken would keep `poll` from ever waiting.
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake_end, MAX_CALLS)


def _ready(executor: Executor) -> Ready:
    costs = executor.costs
    assert costs is not None, "the executor was started"
    # of two chunks, the second one is given just before the first one is done
    latency_s = costs.total_s if executor.depth > 2 else 0.0
    return Ready(executor.info, executor.period_s, latency_s, executor.measured)
