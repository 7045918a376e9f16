"""A program of its own that looks at pictures of strangers, for `PictureReader`.

A decoder may take minutes or gigabytes for half a megabyte, or crash, so it runs where it can be
killed. On standard input comes a task, on standard output goes its answer, each as a length in 4
bytes and so many bytes; the end of the input ends the process.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import signal
import struct
import sys
from typing import BinaryIO

import msgspec

from ...models.picture import PictureRefused, small_square

MOST_MEMORY_BYTES = 768 << 20
"""Of the process; a picture of the largest size takes 370 MB."""
MOST_CPU_S = 4.0
"""Of one picture; one of the largest size takes 1 s."""
NICENESS = 10
"""What is streamed goes before what somebody brings."""
LENGTH = struct.Struct(">I")


class Task(msgspec.Struct, frozen=True):
    """A picture in base64, the side of the square that is wanted of it, and in what time."""

    picture: str
    side: int
    most_cpu_s: float = MOST_CPU_S


class Answer(msgspec.Struct, frozen=True):
    """The square, or why there is none: it is refused, or there is too little memory for it."""

    square: bytes = b""
    message: str = ""
    hint: str = ""
    memory_short: bool = False


def work(tasks: BinaryIO, answers: BinaryIO) -> None:
    """Answer tasks until there are no more."""
    while len(head := tasks.read(LENGTH.size)) == LENGTH.size:
        (count,) = LENGTH.unpack(head)
        task = msgspec.msgpack.decode(tasks.read(count), type=Task)
        limit_time(task.most_cpu_s)
        data = msgspec.msgpack.encode(look_at(task))
        limit_time(0)
        answers.write(LENGTH.pack(len(data)) + data)
        answers.flush()


def look_at(task: Task) -> Answer:
    """What `small_square` makes of a picture."""
    try:
        return Answer(square=small_square(_decoded(task.picture), task.side))
    except PictureRefused as refused:
        return Answer(message=refused.message, hint=refused.hint)
    except MemoryError:
        return Answer(memory_short=True)


def limit_memory(most_bytes: int = MOST_MEMORY_BYTES) -> None:
    """Let this process have no more memory than that, where the system can limit it."""
    try:
        import resource
    except ImportError:  # not a POSIX system
        return
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (most_bytes, most_bytes))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def limit_time(most_s: float) -> None:
    """Let the system end this process (SIGPROF) when it has computed for so long from now on.

    0 lifts the limit. Where the system has no such timer, the server's own patience is the limit.
    """
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, most_s)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise PictureRefused(
            "the picture is not base64", "Send the bytes of the file in standard base64."
        ) from error


if __name__ == "__main__":
    limit_memory()
    os.nice(NICENESS)
    with contextlib.suppress(KeyboardInterrupt):
        work(sys.stdin.buffer, sys.stdout.buffer)
