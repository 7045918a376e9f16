"""Speech from an agent in the room, as LiveKit's own avatar protocol has it.

Each segment is a byte stream `lk.audio_stream` of int16; the RPC `lk.clear_buffer` interrupts, and
`lk.playback_started` and `lk.playback_finished` tell the agent how it goes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Coroutine

import numpy as np
from livekit import rtc

from ..errors import ClientError
from .voice import Voice

AUDIO_STREAM = "lk.audio_stream"
CLEAR_BUFFER = "lk.clear_buffer"
PLAYBACK_STARTED = "lk.playback_started"
PLAYBACK_FINISHED = "lk.playback_finished"
ON_BEHALF_OF = "lk.publish_on_behalf"
"""An attribute in our token: the identity of the agent that we speak for."""

_CODE = rtc.RpcError.ErrorCode
NEVER_HEARD = (_CODE.SEND_FAILED, _CODE.UNSUPPORTED_METHOD)
TRIES = 3
RETRY_S = 0.2
RATES = range(8_000, 48_001)
MAX_CHANNELS = 2

log = logging.getLogger(__name__)


class DataStreamEars:
    """Hears what the agent of a room sends, and tells it of each segment."""

    def __init__(self, room: rtc.Room) -> None:
        self._room = room
        self._voice: Voice | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._agent = room.local_participant.attributes.get(ON_BEHALF_OF)
        room.register_byte_stream_handler(AUDIO_STREAM, self._take_stream)
        room.local_participant.register_rpc_method(CLEAR_BUFFER, self._clear)

    @property
    def agent(self) -> str | None:
        """The identity of who speaks; None: nobody has yet."""
        return self._agent

    def attach(self, voice: Voice) -> None:
        """From here on segments are spoken by this voice."""
        self._voice = voice

    async def turned(self) -> None:
        """Nothing is to be told: an agent does not wait for this."""

    async def started(self) -> None:
        """Tell the agent, which may not care and then has no such method."""
        with contextlib.suppress(rtc.RpcError):
            await self._call(PLAYBACK_STARTED, "")

    async def finished(self, position_s: float, interrupted: bool) -> None:
        """Tell the agent; it waits for this, so it is worth more than one try."""
        payload = json.dumps({"playback_position": position_s, "interrupted": interrupted})
        for attempt in range(TRIES):
            try:
                await self._call(PLAYBACK_FINISHED, payload)
                return
            except rtc.RpcError as error:
                # after any other it may have been heard, and twice is worse than not at all
                if error.code not in NEVER_HEARD or attempt == TRIES - 1:
                    log.warning("the agent did not take %s: %s", PLAYBACK_FINISHED, error)
                    return
                await asyncio.sleep(RETRY_S)

    async def close(self) -> None:
        """Hear nothing more."""
        self._room.unregister_byte_stream_handler(AUDIO_STREAM)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _call(self, method: str, payload: str) -> None:
        if self._agent is not None and self._room.isconnected():
            await self._room.local_participant.perform_rpc(
                destination_identity=self._agent, method=method, payload=payload
            )

    def _take_stream(self, reader: rtc.ByteStreamReader, sender: str) -> None:
        self._agent = self._agent or sender
        if sender != self._agent or self._voice is None:
            log.warning("speech of %r is not for this avatar", sender)
            reader.close()
            return
        try:
            rate, channels = _format(reader.info.attributes or {})
        except ValueError as error:
            log.warning("speech of %r cannot be taken: %s", sender, error)
            reader.close()
            return
        # here and not in a task: an interruption that comes next has to find it
        utterance = self._voice.begin(rate)

        async def read() -> None:
            rest = b""
            try:
                async for chunk in reader:
                    data, size = rest + chunk, 2 * channels
                    whole = len(data) - len(data) % size
                    samples, rest = np.frombuffer(data[:whole], "<i2"), data[whole:]
                    if channels > 1:
                        samples = samples.reshape(-1, channels).mean(1)
                    utterance.write(samples.astype(np.int16))
            except rtc.StreamError as error:
                log.warning("a segment ended early: %s", error)
            finally:
                utterance.end()
                reader.close()

        self._spawn(read())

    def _clear(self, call: rtc.RpcInvocationData) -> str:
        if call.caller_identity != self._agent or self._voice is None:
            return "not your avatar"
        # cut here and not in the task: speech that comes next is of another segment
        self._spawn(self._obey(self._voice.interrupt()))
        return "ok"

    async def _obey(self, interruption: Coroutine[None, None, None]) -> None:
        try:
            await interruption
        except ClientError as error:
            log.warning("the server did not answer an interruption: %s", error)

    def _spawn(self, run: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(run)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _format(attributes: dict[str, str]) -> tuple[int, int]:
    """Sample rate and channels of a segment. Raises ValueError for what nobody can speak."""
    rate = int(attributes.get("sample_rate", ""))
    channels = int(attributes.get("num_channels", "1"))
    if rate not in RATES or not 1 <= channels <= MAX_CHANNELS:
        raise ValueError(f"{rate} samples per second, {channels} channels")
    return rate, channels
