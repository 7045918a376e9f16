"""Pictures of clients, looked at in a process that can be killed: media never waits for a decoder.

Nothing of them is written or logged; they live as long as their stream does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process

import msgspec

from ...models.contract import ModelInfo
from ..logs import logger
from ..protocol.client_messages import PictureChange
from ..protocol.errors import InvalidField, RateLimited
from ..session.control_queue import check_supported
from ..session.pending import OwnPicture
from .picture_process import LENGTH, MOST_CPU_S, Answer, Task

PATIENCE_S = 20.0
"""For one picture, which also ends when its process has computed for `MOST_CPU_S`."""
START_PATIENCE_S = 60.0
MOST_WAITING = 8
"""Pictures that may wait for the process."""
_MODULE = "rollcast.server.media.picture_process"
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class PictureReader:
    """One process, started with the first picture and anew after each that it did not survive.

    Pictures take their turns in it, so that many at once do not take all processors.
    """

    def __init__(self, most_cpu_s: float = MOST_CPU_S) -> None:
        self._most_cpu_s = most_cpu_s
        self._process: Process | None = None
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._log = logger("rollcast.pictures")

    async def control(self, message: PictureChange, info: ModelInfo) -> OwnPicture:
        """A `picture` control with what the model will be given. Raises as `read` does."""
        square = await self.read(message.picture, info, message.event_id)
        return OwnPicture(message.event_id, square, message.at_us)

    async def read(self, text: str, info: ModelInfo, event_id: str | None = None) -> bytes:
        """The small square of a picture in base64.

        Raises NotSupported if the model takes none, InvalidField if it is none to work with, and
        RateLimited if too many wait.
        """
        check_supported(info, "picture", event_id)
        assert info.inputs.picture is not None, (
            "a model that takes pictures says how they should be"
        )
        if self._waiting >= MOST_WAITING:
            raise RateLimited(
                "too many pictures wait to be looked at",
                field="picture",
                hint="Send the picture again after retry_after_s seconds.",
                retry_after_s=self._most_cpu_s,
                event_id=event_id,
            )
        self._waiting += 1
        try:
            async with self._turn:
                answer = await self._ask(Task(text, info.inputs.picture.size, self._most_cpu_s))
        finally:
            self._waiting -= 1
        if answer.square:
            return answer.square
        raise InvalidField(answer.message, field="picture", hint=answer.hint, event_id=event_id)

    async def close(self) -> None:
        """End the process."""
        await self._kill()

    async def _ask(self, task: Task) -> Answer:
        try:
            process = self._process or await self._start()
            async with asyncio.timeout(PATIENCE_S):
                answer = await _exchange(process, task)
        except TimeoutError:
            await self._kill()
            return self._given_up(too_long=True)
        except (OSError, EOFError):
            return self._given_up(too_long=await self._kill() == -signal.SIGPROF)
        except BaseException:
            # Half a question or half an answer: nobody else could make sense of the rest.
            await self._kill()
            raise
        if answer.memory_short:
            return Answer(
                message="the picture takes more memory to decode than there is for it",
                hint="Make it smaller: 2000 pixels a side are plenty.",
            )
        return answer

    async def _start(self) -> Process:
        """A process that is ready to work, which was seen to answer."""
        process = self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", _MODULE),
            stdin=PIPE,
            stdout=PIPE,
            env={**os.environ, **_ONE_THREAD},
        )
        async with asyncio.timeout(START_PATIENCE_S):
            await _exchange(process, Task("", 1))
        return process

    def _given_up(self, *, too_long: bool) -> Answer:
        self._log.warning("a picture was given up", why="time" if too_long else "the decoder died")
        if too_long:
            return Answer(
                message=f"the picture takes longer than {self._most_cpu_s:g} s to decode",
                hint="Save it again as an ordinary JPEG of at most 2000 pixels a side.",
            )
        return Answer(
            message="the picture cannot be decoded: the decoder failed at it",
            hint="Save it again with another program, or as an ordinary JPEG.",
        )

    async def _kill(self) -> int:
        """End the process; returns its exit status."""
        process, self._process = self._process, None
        if process is None:
            return 0
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        return await process.wait()


async def _exchange(process: Process, task: Task) -> Answer:
    """Send a task and wait for its answer. Raises OSError or EOFError if the process ends."""
    assert process.stdin is not None and process.stdout is not None, "both are pipes"
    data = msgspec.msgpack.encode(task)
    process.stdin.write(LENGTH.pack(len(data)) + data)
    await process.stdin.drain()
    (count,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
    return msgspec.msgpack.decode(await process.stdout.readexactly(count), type=Answer)
