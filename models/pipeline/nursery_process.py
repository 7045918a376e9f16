"""The nursery's process: imports what it is told to, and becomes others.

Started by `nursery` as `python -m rollcast.models.pipeline.nursery_process DESCRIPTOR PROGRAM
NICENESS`. It ends with the process that started it, because then its socket closes, and its
children end with it.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import re
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from .heap import return_free_pages
from .heartbeat import die_with_parent

Program = Callable[[Sequence[str]], None]

_WISH_BYTES = 1 << 18
_MOST_DESCRIPTORS = 64


def serve(wishes: socket.socket, run: Program) -> None:
    """Bring forth a child for every wish; return when nobody can have any more.

    A wish without descriptors is for what it imports alone.
    """
    signal.signal(signal.SIGCHLD, _bury)
    # nothing of what is imported goes, so nobody need look for what does
    gc.disable()
    while True:
        data, descriptors, _, _ = socket.recv_fds(wishes, _WISH_BYTES, _MOST_DESCRIPTORS)
        if not data:
            return
        wish: dict[str, Any] = json.loads(data)
        for name in wish["preload"]:
            # A child that cannot import it says so itself.
            with contextlib.suppress(Exception):
                importlib.import_module(name)
        if not descriptors:
            continue
        answer, *inherited = descriptors
        _bring_forth(wishes, answer, inherited, wish, run)
        for descriptor in descriptors:
            os.close(descriptor)


def _bring_forth(
    wishes: socket.socket, answer: int, inherited: list[int], wish: dict[str, Any], run: Program
) -> None:
    return_free_pages()
    # What was imported is not looked through, and so not copied, by any child's garbage collector,
    # nor by one here: of a hundred megabytes it would find one, in the time of three chunks.
    gc.freeze()
    # Nobody has its number before this process does.
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGCHLD,))
    pid = os.fork()
    if pid == 0:
        _become(wishes, answer, inherited, wish, run)
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(answer)) as to:
        descriptor = os.pidfd_open(pid)
        socket.send_fds(to, [str(pid).encode()], [descriptor])
        os.close(descriptor)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGCHLD,))


def _become(
    wishes: socket.socket, answer: int, inherited: list[int], wish: dict[str, Any], run: Program
) -> None:
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGCHLD,))
        gc.enable()
        die_with_parent()
        wishes.close()
        os.close(answer)
        os.environ.update(wish["set"])
        for name in wish["unset"]:
            os.environ.pop(name, None)
        folders = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        sys.path[:0] = [folder for folder in folders if folder and folder not in sys.path]
        run([_renumbered(text, wish["descriptors"], inherited) for text in wish["arguments"]])
    except KeyboardInterrupt:
        pass
    except Exception:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(1)


def _renumbered(argument: str, theirs: list[int], ours: list[int]) -> str:
    """An argument that ends in a descriptor of theirs, with its number here."""
    number = re.search(r"\d+$", argument)
    if number is None or int(number[0]) not in theirs:
        return argument
    return argument[: number.start()] + str(ours[theirs.index(int(number[0]))])


def _bury(*_: object) -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


if __name__ == "__main__":
    os.nice(int(sys.argv[3]))
    serve(socket.socket(fileno=int(sys.argv[1])), importlib.import_module(sys.argv[2]).run)
    os._exit(0)
