"""Pictures of clients, looked at away from the event loop: media never waits for a decoder.

Nothing of them is written or logged; they live as long as their stream does.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from concurrent.futures import ThreadPoolExecutor

from ...models.contract import ModelInfo
from ...models.picture import PictureRefused, small_square
from ..protocol.client_messages import PictureChange
from ..protocol.errors import InvalidField
from ..session.control_queue import check_supported
from ..session.pending import OwnPicture


class PictureReader:
    """One thread, so that many pictures at once take their turns and not all processors."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="picture")

    async def control(self, message: PictureChange, info: ModelInfo) -> OwnPicture:
        """A `picture` control with what the model will be given. Raises as `read` does."""
        square = await self.read(message.picture, info, message.event_id)
        return OwnPicture(message.event_id, square, message.at_us)

    async def read(self, text: str, info: ModelInfo, event_id: str | None = None) -> bytes:
        """The small square of a picture in base64.

        Raises NotSupported if the model takes none, InvalidField if it is none to work with.
        """
        check_supported(info, "picture", event_id)
        assert info.inputs.picture is not None, (
            "a model that takes pictures says how they should be"
        )
        work = asyncio.get_running_loop().run_in_executor(
            self._thread, _square, text, info.inputs.picture.size
        )
        try:
            return await work
        except PictureRefused as refused:
            raise InvalidField(
                refused.message, field="picture", hint=refused.hint, event_id=event_id
            ) from refused

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(cancel_futures=True)


def _square(text: str, side: int) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise PictureRefused(
            "the picture is not base64", "Send the bytes of the file in standard base64."
        ) from error
    return small_square(data, side)
