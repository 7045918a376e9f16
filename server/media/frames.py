"""Frames of one client's video, decoded in a process of their own that can be killed."""

from __future__ import annotations

import msgspec
import numpy as np

from ...models.contract import VideoInput
from ..protocol.errors import InvalidField
from .frame_process import MOST_CPU_S, FrameAnswer, FrameTask
from .killable_process import Died, KillableProcess, TookTooLong

PATIENCE_S = 5.0
_MODULE = "rollcast.server.media.frame_process"
_HINT = "Send each frame as one ordinary JPEG of 16 to 4096 pixels a side."


class FrameReader:
    """One process for one client, so that nobody waits for the frames of another."""

    def __init__(self, video: VideoInput, most_cpu_s: float = MOST_CPU_S) -> None:
        self._video = video
        self._most_cpu_s = most_cpu_s
        hello = msgspec.msgpack.encode(FrameTask(b"", 1, 1))
        self._process = KillableProcess(_MODULE, hello, PATIENCE_S)

    async def read(self, jpeg: bytes) -> np.ndarray:
        """The frame as the model takes it, uint8 RGB [H, W, 3], cut to its middle; one at a time.

        Raises InvalidField for what is none.
        """
        width, height = self._video.width, self._video.height
        task = FrameTask(jpeg, width, height, self._most_cpu_s)
        try:
            data = await self._process.ask(msgspec.msgpack.encode(task))
        except TookTooLong:
            raise _refused(f"the frame takes longer than {self._most_cpu_s:g} s") from None
        except Died:
            raise _refused("the decoder failed at the frame") from None
        answer = msgspec.msgpack.decode(data, type=FrameAnswer)
        if not answer.rgb:
            raise _refused(answer.message)
        return np.frombuffer(answer.rgb, np.uint8).reshape(height, width, 3)

    async def close(self) -> None:
        """End the process."""
        await self._process.kill()


def _refused(message: str) -> InvalidField:
    return InvalidField(message, field="payload", hint=_HINT)
