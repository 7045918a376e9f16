"""Room for sockets: how many files this process may have open."""

from __future__ import annotations

import contextlib

MOST_DESCRIPTORS = 16_384
"""More than the server's own limits on connections ask for."""
FALLBACK = 1024


def raise_descriptor_limit(wanted: int = MOST_DESCRIPTORS) -> int:
    """Raise the soft limit on open files as far as the hard one permits; returns what holds now.

    Processes that are started later inherit it.
    """
    try:
        import resource
    except ImportError:  # not a POSIX system
        return FALLBACK
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return descriptor_limit()


def descriptor_limit() -> int:
    """How many files this process may have open now."""
    try:
        import resource
    except ImportError:
        return FALLBACK
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft
