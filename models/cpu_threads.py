"""How many CPU threads a model should compute with: measured, not guessed.

Small tensors gain little from a second thread, and two threads that fight for one core are many
times slower than one; which it is depends on the machine and on what else runs there.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

_TRIALS = 5
_MOST = 4
# a further thread must save at least this share of the time, for encoders want a core as well
_WORTH = 0.15


@contextmanager
def one_thread() -> Iterator[None]:
    """Within it torch computes with one thread: for many small operations with the same bits.

    Where others need the cores too, threads wait longer for each other than they save.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def choose_threads(work: Callable[[], object], most: int | None = None) -> int:
    """Set torch to the number of threads with which `work` is fastest; that number.

    Tries 1 to `most` threads (default: one less than there are cores, at most 4: a core is left
    to the encoder and to the viewer's browser, for a thread that has to share one is far slower
    than no second thread).
    """
    most = max(1, min(torch.get_num_threads() - 1, _MOST)) if most is None else most
    best = 1
    # one candidate needs no race: a start on two cores is not kept waiting
    times = {k: _seconds(work, k) for k in range(1, most + 1)} if most > 1 else {}
    for threads, seconds in times.items():
        if seconds < (1 - _WORTH) * times[best]:
            best = threads
    torch.set_num_threads(best)
    return best


def _seconds(work: Callable[[], object], threads: int) -> float:
    torch.set_num_threads(threads)
    work()  # the first call with a number of threads starts them
    trials = []
    for _ in range(_TRIALS):
        begin = time.perf_counter()
        work()
        trials.append(time.perf_counter() - begin)
    return statistics.median(trials)
