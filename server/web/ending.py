"""A signal to stop ends the process in time, whatever hangs in it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@contextmanager
def ends_in_time(limit_s: float) -> Iterator[None]:
    """Within this block a signal to stop ends the process after `limit_s` at the latest.

    SIGHUP stops it as SIGTERM does, unless it is ignored, as under nohup. A signal is seen even
    while the main thread hangs: it is written to a pipe, and another thread reads that.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    told, tell = os.pipe()
    os.set_blocking(tell, False)
    ended = threading.Event()
    watch = threading.Thread(
        target=_watch, args=(told, ended, limit_s), name="last-resort", daemon=True
    )
    watch.start()
    before = signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    hangup = signal.getsignal(signal.SIGHUP)
    if hangup is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, hangup)
        signal.set_wakeup_fd(before)
        ended.set()
        os.close(tell)
        watch.join()
        os.close(told)


def _watch(told: int, ended: threading.Event, limit_s: float) -> None:
    """Wait for a signal, and then for the end, but not for ever."""
    with suppress(OSError):
        while numbers := os.read(told, 64):
            if any(number in _STOPPING for number in numbers):
                break
        else:
            return
    if not ended.wait(limit_s):
        text = f"rollcast: it did not end within {limit_s:g} s of being told to; it is ended now\n"
        with suppress(OSError):
            os.write(sys.stderr.fileno(), text.encode())
        os._exit(1)
