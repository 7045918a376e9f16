"""What a process does with its memory once it is ready: what is unused goes, what is used stays.

What glibc's heap keeps that nothing uses any more is given back to the system; elsewhere (macOS,
musl) the heap is left as it is.
"""

from __future__ import annotations

import ctypes
import gc
import platform

# glibc's malloc.h
_MMAP_THRESHOLD = -3
_RETURNED_BYTES = 1 << 20


def return_large_blocks() -> bool:
    """Return blocks of 1 MiB and more as they are freed; whether that was set. Once at a start.

    Left alone, glibc raises that size to that of what was freed, and then keeps or returns the
    megabytes of a stream's snapshot by accident: memory looks as if it grew.
    """
    libc = _glibc()
    return libc is not None and libc.mallopt(_MMAP_THRESHOLD, _RETURNED_BYTES) == 1


def return_unused() -> None:
    """Collect garbage and return the heap's free pages; a tenth of a second, once after a start.

    What a model needed while it was loaded, warmed up and measured is more than it needs for a
    chunk. What is left stays as long as the process, so the collector looks at it no more: it
    would hold all streams up for that tenth of a second when the first of them have come.
    """
    gc.collect()
    gc.freeze()
    return_free_pages()


def return_free_pages() -> None:
    """Return the heap's free pages."""
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
