"""Keeps a stage running on this machine for an executor on another one.

It holds no model and no torch, so it survives whatever its stage does; torchrun sees a process
that never fails. It ends with the executor's connection.
"""

from __future__ import annotations

import os
import subprocess
import time
from multiprocessing.connection import Connection

from .launchers import KEY_VARIABLE, START, end_process, start_stage
from .secure_channel import connect

_TRIES_S = 120.0


def keep_stage(address: tuple[str, int], key: bytes, rank: int) -> None:
    """Start and end stage `rank` as the executor at `address` says, until it is gone.

    Raises OSError when it never comes.
    """
    connection = _connect_patiently(address, key, f"agent {rank}")
    process: subprocess.Popen[bytes] | None = None
    host, port = address
    environment = {**os.environ, KEY_VARIABLE: key.decode()}
    try:
        while True:
            command = connection.recv_bytes(len(START))
            if process is not None:
                end_process(process)
                process = None
            if command == START:
                arguments = ["--connect", f"{host}:{port}", "--rank", str(rank)]
                process = start_stage(arguments, environment, [])
    except (EOFError, OSError):
        return
    finally:
        if process is not None:
            end_process(process)


def _connect_patiently(address: tuple[str, int], key: bytes, name: str) -> Connection:
    """The executor may be a little later than we are."""
    end_s = time.monotonic() + _TRIES_S
    while True:
        try:
            return connect(address, key, name)
        except OSError:
            if time.monotonic() > end_s:
                raise
            time.sleep(0.2)
