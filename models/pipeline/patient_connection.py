"""Connections that a stopped process at the other end cannot hold up."""

from __future__ import annotations

import socket
import struct
from multiprocessing.connection import Connection

IO_S = 0.8
"""In the middle of a message no side waits longer for a stopped one."""


def as_connection(ours: socket.socket) -> Connection:
    """A connection over this socket whose sending and receiving stops after `IO_S`."""
    limit = struct.pack("ll", int(IO_S), int(IO_S % 1 * 1e6))
    ours.settimeout(None)
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        ours.setsockopt(socket.SOL_SOCKET, option, limit)
    return Connection(ours.detach())
