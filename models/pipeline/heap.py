"""What glibc's heap has kept of memory that nothing uses any more, given back to the system."""

from __future__ import annotations

import ctypes
import gc
import platform


def return_unused() -> None:
    """Collect garbage and return the heap's free pages; a few milliseconds, once after a start.

    What a model needed while it was loaded, warmed up and measured is more than it needs for a
    chunk. Elsewhere (macOS, musl) only garbage is collected.
    """
    gc.collect()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
