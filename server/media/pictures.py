"""Pictures of clients, looked at in a process that can be killed: media never waits for a decoder.

Nothing of them is written or logged; they live as long as their stream does.
"""

from __future__ import annotations

import asyncio

import msgspec

from ...models.contract import ModelInfo
from ..logs import logger
from ..protocol.client_messages import ImageChange, PictureChange, SessionCreate
from ..protocol.errors import InvalidField, RateLimited
from ..protocol.messages import PictureField, pictures_of
from ..session.control_queue import check_supported
from ..session.pending import OwnImage, OwnPicture
from .killable_process import Died, KillableProcess, TookTooLong
from .picture_process import MOST_CPU_S, Answer, Task

PATIENCE_S = 20.0
"""For one picture, which also ends when its process has computed for `MOST_CPU_S`."""
MOST_WAITING = 8
"""Pictures that may wait for the process."""
_MODULE = "rollcast.server.media.picture_process"


class PictureReader:
    """One process for all, in which pictures take turns: many at once do not take all processors.

    It is started with the first picture and anew after each that it did not survive.
    """

    def __init__(self, most_cpu_s: float = MOST_CPU_S) -> None:
        self._most_cpu_s = most_cpu_s
        hello = msgspec.msgpack.encode(Task("", 1, 1))
        self._process = KillableProcess(_MODULE, hello, PATIENCE_S)
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._log = logger("rollcast.pictures")

    async def control(
        self, message: PictureChange | ImageChange, info: ModelInfo
    ) -> OwnPicture | OwnImage:
        """A control with what the model will be given. Raises as `read` does."""
        ((field, text),) = pictures_of(message).items()
        jpeg = await self.read(text, info, message.event_id, field)
        made = OwnPicture if field == "picture" else OwnImage
        return made(message.event_id, jpeg, message.at_us)

    async def of(self, message: SessionCreate, info: ModelInfo) -> dict[PictureField, bytes]:
        """What the model will be given of the pictures that a stream is opened with."""
        return {
            field: await self.read(text, info, None, field)
            for field, text in pictures_of(message).items()
        }

    async def read(
        self,
        text: str,
        info: ModelInfo,
        event_id: str | None = None,
        field: PictureField = "picture",
    ) -> bytes:
        """A JPEG, of the size that the model looks at, of a picture in base64.

        Raises NotSupported if the model takes none, InvalidField if it is none to work with, and
        RateLimited if too many wait.
        """
        check_supported(info, field, event_id)
        if self._waiting >= MOST_WAITING:
            raise RateLimited(
                "too many pictures wait to be looked at",
                field=field,
                hint="Send the picture again after retry_after_s seconds.",
                retry_after_s=self._most_cpu_s,
                event_id=event_id,
            )
        task = _task(info, field, text, self._most_cpu_s)
        self._waiting += 1
        try:
            async with self._turn:
                answer = await self._ask(task)
        finally:
            self._waiting -= 1
        if answer.jpeg:
            return answer.jpeg
        raise InvalidField(answer.message, field=field, hint=answer.hint, event_id=event_id)

    async def close(self) -> None:
        """End the process."""
        await self._process.kill()

    async def _ask(self, task: Task) -> Answer:
        try:
            data = await self._process.ask(msgspec.msgpack.encode(task))
        except TookTooLong:
            self._log.warning("a picture was given up", why="time")
            return Answer(
                message=f"the picture takes longer than {self._most_cpu_s:g} s to decode",
                hint="Save it again as an ordinary JPEG of at most 2000 pixels a side.",
            )
        except Died:
            self._log.warning("a picture was given up", why="the decoder died")
            return Answer(
                message="the picture cannot be decoded: the decoder failed at it",
                hint="Save it again with another program, or as an ordinary JPEG.",
            )
        answer = msgspec.msgpack.decode(data, type=Answer)
        if answer.memory_short:
            return Answer(
                message="the picture takes more memory to decode than there is for it",
                hint="Make it smaller: 2000 pixels a side are plenty.",
            )
        return answer


def _task(info: ModelInfo, field: PictureField, text: str, most_cpu_s: float) -> Task:
    """What is asked about a picture: what the model is to be given of it."""
    guide, image = info.inputs.picture, info.inputs.image
    if field == "image":
        assert image is not None, "a model that takes images says how large"
        return Task(text, image.width, image.height, most_cpu_s)
    assert guide is not None, "a model that takes pictures says how they should be"
    return Task(text, guide.size, guide.size, most_cpu_s, guide)
