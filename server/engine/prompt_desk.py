"""Prompts on their way to a session, each kept back until the model can obey it at once.

All on the event loop; the reading itself is in a process of its own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from ...models.wan.text.reader import TextFailed, TextReader
from ..logs import logger
from ..protocol.client_messages import Prompt
from ..protocol.errors import EngineFailed, RateLimited, StreamError

MAX_WAITING = 64


class PromptDesk:
    """The prompts of one stream, in their order.

    Of several that wait only the newest is read: the others would be replaced by it at the same
    chunk. `deliver` is given each, or `refuse` what is wrong with it.
    """

    def __init__(
        self,
        reader: TextReader | None,
        deliver: Callable[[Prompt], None],
        refuse: Callable[[StreamError], None],
    ) -> None:
        self._reader = reader
        self._deliver = deliver
        self._refuse = refuse
        self._waiting: deque[Prompt] = deque()
        self._task: asyncio.Task[None] | None = None

    def keep(self, prompt: Prompt) -> bool:
        """Keep a prompt back if it has to be read first, or comes behind one that has.

        Raises RateLimited if too many wait.
        """
        if self._reader is None or (not self._waiting and self._reader.has(prompt.text)):
            return False
        if len(self._waiting) >= MAX_WAITING:
            raise RateLimited(f"{MAX_WAITING} prompts wait already", event_id=prompt.event_id)
        self._waiting.append(prompt)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._read_all(), name="prompts")
        return True

    def close(self) -> None:
        """Forget what waits."""
        if self._task is not None:
            self._task.cancel()

    async def _read_all(self) -> None:
        assert self._reader is not None, "something waits"
        while self._waiting:
            count, newest = len(self._waiting), self._waiting[-1]
            why = await read(self._reader, newest.text)
            for _ in range(count):
                self._hand_over(self._waiting.popleft(), why)

    def _hand_over(self, prompt: Prompt, why: EngineFailed | None) -> None:
        try:
            if why is not None:
                raise EngineFailed(
                    why.message, hint=why.hint, event_id=prompt.event_id, fatal=False
                )
            self._deliver(prompt)
        except StreamError as error:
            self._refuse(error)


async def read(reader: TextReader, text: str) -> EngineFailed | None:
    """Have a text read; what to say if it cannot be."""
    try:
        await asyncio.wrap_future(reader.read(text))
    except TextFailed as error:
        logger("rollcast.prompts").error("a prompt could not be read", reason=str(error))
        return EngineFailed("the prompt could not be read", hint="The server's log says why.")
    return None
