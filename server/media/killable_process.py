"""A program of ours that looks at what strangers send, in a process that can be killed.

It reads tasks on standard input and writes answers on standard output, each as a length in 4 bytes
and so many bytes. A decoder that hangs, crashes or eats memory costs this process and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import struct
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from typing import Protocol, TypeVar

import msgspec

START_PATIENCE_S = 60.0
LENGTH = struct.Struct(">I")
NICENESS = 10
"""What is streamed goes before what somebody brings."""
_BUFFER_BYTES = 4 << 20
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class TimedTask(Protocol):
    """A task that says how many seconds it may compute."""

    @property
    def most_cpu_s(self) -> float:
        """Seconds."""
        ...


T = TypeVar("T", bound=TimedTask)


class TookTooLong(Exception):
    """It computed, or was waited for, longer than it may, and was ended."""


class Died(Exception):
    """It ended by itself."""


class KillableProcess:
    """One process of a module, started with the first task and anew after each that it lost.

    `hello` is a task that it is given first, so that it has loaded what it needs.
    """

    def __init__(self, module: str, hello: bytes, patience_s: float) -> None:
        self._module = module
        self._hello = hello
        self._patience_s = patience_s
        self._process: Process | None = None

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return None if self._process is None else self._process.pid

    async def ask(self, task: bytes) -> bytes:
        """Its answer to a task. One at a time. Raises TookTooLong or Died."""
        try:
            process = self._process or await self._start()
            async with asyncio.timeout(self._patience_s):
                return await _exchange(process, task)
        except TimeoutError as error:
            await self.kill()
            raise TookTooLong from error
        except (OSError, EOFError) as error:
            ended = await self.kill()
            raise (TookTooLong if ended == -signal.SIGPROF else Died) from error
        except BaseException:
            # Half a question or half an answer: nobody else could make sense of the rest.
            await self.kill()
            raise

    async def kill(self) -> int:
        """End the process; returns its exit status."""
        process, self._process = self._process, None
        if process is None:
            return 0
        # Process.kill() would first ask a process that has just ended how it did. That can be told
        # once, and wait() would not know it any more.
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        return await process.wait()

    async def _start(self) -> Process:
        process = self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", self._module),
            stdin=PIPE,
            stdout=PIPE,
            limit=_BUFFER_BYTES,
            env={**os.environ, **_ONE_THREAD},
        )
        async with asyncio.timeout(START_PATIENCE_S):
            await _exchange(process, self._hello)
        return process


def run(kind: type[T], answer: Callable[[T], msgspec.Struct], most_memory_bytes: int) -> None:
    """Be such a program, on standard input and output, until there are no more tasks.

    It has no more memory than that, and for each task, of this `kind`, as long as that says.
    """
    limit_memory(most_memory_bytes)
    os.nice(NICENESS)
    tasks, answers = sys.stdin.buffer, sys.stdout.buffer
    with contextlib.suppress(KeyboardInterrupt):
        while len(head := tasks.read(LENGTH.size)) == LENGTH.size:
            (count,) = LENGTH.unpack(head)
            task = msgspec.msgpack.decode(tasks.read(count), type=kind)
            limit_time(task.most_cpu_s)
            data = msgspec.msgpack.encode(answer(task))
            limit_time(0)
            answers.write(LENGTH.pack(len(data)) + data)
            answers.flush()


def limit_memory(most_bytes: int) -> None:
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


async def _exchange(process: Process, task: bytes) -> bytes:
    """Send a task and wait for its answer. Raises OSError or EOFError if the process ends."""
    assert process.stdin is not None and process.stdout is not None, "both are pipes"
    process.stdin.write(LENGTH.pack(len(task)) + task)
    await process.stdin.drain()
    (count,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
    return await process.stdout.readexactly(count)
