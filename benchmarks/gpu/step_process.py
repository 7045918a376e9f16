"""A step in a process group of its own: forked from one that has imported everything.

Whoever forks has not touched CUDA, so each step sets it up anew and none can spoil it for another.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any, NoReturn

_LOG_LINES = 12
_PR_SET_PDEATHSIG = 1

Send = Callable[[dict[str, Any]], None]


class NotHere(Exception):
    """What the process was to do needs what is not here."""


@dataclass(slots=True)
class Outcome:
    """How a process ended, and what it had said until then.

    `status` is "good", "wrong" (it said so), "failed" (it raised), "crashed", "overran" or
    "skipped".
    """

    status: str = "good"
    why: str = ""
    seconds: float = 0.0
    results: dict[str, Any] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    def take(self, message: dict[str, Any]) -> None:
        """A message of the process."""
        if "note" in message:
            self.results[message["note"]] = message["value"]
        elif "wrong" in message:
            self.wrong.append(message["wrong"])
        else:
            self.status, self.why = message["end"], message["why"]


def run_apart(
    work: Callable[[Send], None],
    cap_s: float,
    tell: Callable[[Outcome], None] = lambda outcome: None,
) -> Outcome:
    """Call `work` in a process group of its own, for so many seconds at most.

    `tell` is called with each thing that it says. Nothing of the group is left behind.
    """
    outcome, begun = Outcome(), time.monotonic()
    reading, writing = os.pipe()
    with tempfile.TemporaryFile() as log, os.fdopen(reading, "rb") as pipe:
        pid = os.fork()
        if pid == 0:
            _child(work, writing, log)
        os.close(writing)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            # here as well, so that it has happened whoever comes first
            os.setpgid(pid, pid)
        overran = not _listen(pipe, begun + cap_s, outcome, tell)
        if overran:
            _end_group(pid)
        _, code = os.waitpid(pid, 0)
        _end_group(pid)
        outcome.seconds = time.monotonic() - begun
        _judge(outcome, code, cap_s if overran else None)
        if outcome.status not in ("good", "skipped"):
            log.seek(0)
            outcome.log = log.read().decode(errors="replace").splitlines()[-_LOG_LINES:]
    return outcome


def _listen(pipe: IO[bytes], end: float, outcome: Outcome, tell: Callable[[Outcome], None]) -> bool:
    """Take what the process says until it ends; False: it did not in time."""
    rest = b""
    while True:
        left = end - time.monotonic()
        if left <= 0 or not select.select([pipe], [], [], left)[0]:
            return False
        got = os.read(pipe.fileno(), 65536)
        if not got:
            return True
        *lines, rest = (rest + got).split(b"\n")
        for line in lines:
            outcome.take(json.loads(line))
            tell(outcome)


def _judge(outcome: Outcome, code: int, cap_s: float | None) -> None:
    if cap_s is not None:
        outcome.status, outcome.why = "overran", f"ended behind {cap_s:g} s"
    elif os.WIFSIGNALED(code):
        name = signal.Signals(os.WTERMSIG(code)).name
        outcome.status, outcome.why = "crashed", f"ended by {name}"
    elif os.WEXITSTATUS(code):
        outcome.status, outcome.why = "crashed", f"ended with {os.WEXITSTATUS(code)}"
    elif outcome.status == "good" and outcome.wrong:
        outcome.status, outcome.why = "wrong", outcome.wrong[0]


def _child(work: Callable[[Send], None], writing: int, log: IO[bytes]) -> NoReturn:
    """Whatever happens, this process ends here."""
    code = 1
    try:
        os.setpgid(0, 0)
        _die_with_parent()
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
        # anew: what the parent had not written yet is not this process's to write
        sys.stdout = sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115

        def send(message: dict[str, Any]) -> None:
            os.write(writing, json.dumps(message).encode() + b"\n")

        try:
            work(send)
        except NotHere as why:
            send({"end": "skipped", "why": str(why)})
        except Exception as error:
            traceback.print_exc()
            send({"end": "failed", "why": f"{type(error).__name__}: {str(error)[:300]}"})
        sys.stderr.flush()
        code = 0
    finally:
        os._exit(code)


def _die_with_parent() -> None:
    """On Linux: nobody would read what a process says whose parent was killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _end_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
