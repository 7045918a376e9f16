"""glibc keeps what it does with large blocks steady, said once at the start of the process."""

from __future__ import annotations

import ctypes
import platform

# glibc's malloc.h
_MMAP_THRESHOLD = -3
_RETURNED_BYTES = 1 << 20


def return_large_blocks() -> bool:
    """Return blocks of 1 MiB and more to the system as they are freed; whether that was set.

    Left alone, glibc raises that size to that of what was freed, and then keeps or returns the
    megabytes of a stream's snapshot by accident: memory looks as if it grew. Elsewhere (macOS,
    musl) nothing is changed.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    return ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _RETURNED_BYTES) == 1
