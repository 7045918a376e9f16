"""`RollcastVideoService`: takes a bot's speech and gives it back with the face that speaks it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    CancelFrame,
    EndFrame,
    Frame,
    InterruptionFrame,
    OutputImageRawFrame,
    StartFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessorSetup
from pipecat.services.ai_service import AIService
from pipecat.services.settings import ServiceSettings

from ..beats import Beat, beats
from ..connection import Stream, connect
from ..errors import ClientError
from ..pacer import Pacer
from ..shown import Frame as Picture
from ..sound_line import SoundLine
from ..talker import Talker, Utterance

USUAL_RATE = 24_000
RATES = range(8_000, 48_001)
LEAD_CHUNKS = 1.2
LAST_WORDS_S = 60.0
"""For how long the end of the pipeline waits for what is being said."""


@dataclass
class RollcastVideoSettings(ServiceSettings):
    """Nothing can be changed while it runs but what the stream's own verbs change."""


@dataclass(slots=True)
class _Turn:
    """What a bot says in one go."""

    utterance: Utterance
    context_id: str | None
    is_heard: bool = False


class RollcastVideoService(AIService):
    """Put it between the speech synthesis and the output of an unchanged pipeline.

    Speech comes back as it was, in pieces of one frame beside the frame that speaks it, paced by
    media time, with its `TTSStartedFrame` and `TTSStoppedFrame` around it. An interruption
    silences it at once. When the server is lost, the bot goes on speaking without its face.

    Give the transport `video_out_is_live=True` and the frame rate and size of `stream.ready`.
    """

    Settings = RollcastVideoSettings

    def __init__(
        self,
        *,
        url: str,
        token: str | None = None,
        model: str | None = None,
        scene: str | None = None,
        picture: bytes | None = None,
        **kwargs: Any,
    ) -> None:
        """The server's `url` and `token`, and whom it shows, as `rollcast.client.connect` has it.

        `kwargs` go to Pipecat's `AIService`.
        """
        super().__init__(settings=RollcastVideoSettings(model=model), **kwargs)
        self._url = url
        self._whom = {"token": token, "model": model, "scene": scene, "picture": picture}
        self._stack = AsyncExitStack()
        self._stream: Stream | None = None
        self._talker: Talker | None = None
        self._line = SoundLine(USUAL_RATE)
        self._turns: deque[_Turn] = deque()
        self._written: Utterance | None = None
        self._mutes = 0
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def stream(self) -> Stream:
        """The stream, for all that it can be asked; from the pipeline's start to its end."""
        assert self._stream is not None, "the pipeline has not started or has ended"
        return self._stream

    def can_generate_metrics(self) -> bool:
        """It measures the time to the first sound."""
        return True

    async def setup(self, setup: FrameProcessorSetup) -> None:
        """Open the stream, at the rate at which the transport plays.

        Raises Refused with the server's reason; OSError when no server is there.
        """
        await super().setup(setup)
        rate = setup.audio_out_sample_rate
        self._stream = await self._stack.enter_async_context(
            connect(
                self._url,
                audio_rate=rate if rate in RATES else USUAL_RATE,
                pace="reader",
                lead_chunks=LEAD_CHUNKS,
                **self._whom,
            )
        )
        self._line = SoundLine(self._stream.ready.sample_rate or self._stream.audio_rate)
        self._talker = Talker(self._stream)

    async def start(self, frame: StartFrame) -> None:
        """Begin to show."""
        await super().start(frame)
        self._spawn(self._show(self.stream))
        if self._talker is not None:
            self._spawn(self._talk(self._talker))

    async def stop(self, frame: EndFrame) -> None:
        """Say what is being said, and leave."""
        try:
            async with asyncio.timeout(LAST_WORDS_S):
                while self._turns and self._has_face():
                    await asyncio.sleep(0.02)
        except TimeoutError:
            pass
        await super().stop(frame)
        await self._leave()

    async def cancel(self, frame: CancelFrame) -> None:
        """Leave at once."""
        await super().cancel(frame)
        await self._leave()

    async def cleanup(self) -> None:
        """Leave, if that was not done."""
        await super().cleanup()
        await self._leave()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Take the bot's speech, obey interruptions, and hand all else on."""
        await super().process_frame(frame, direction)
        if isinstance(frame, InterruptionFrame):
            interruption = self._interrupt() if self._has_face() else None
            # the transport drops what it has queued now, and not a round trip later
            await self.push_frame(frame, direction)
            if interruption is not None:
                self._spawn(interruption)
        elif isinstance(frame, TTSAudioRawFrame) and self._has_face():
            self._hear(frame)
        elif isinstance(frame, TTSStartedFrame) and self._has_face():
            await self.start_ttfb_metrics()
        elif isinstance(frame, TTSStoppedFrame) and self._has_face():
            if self._written is not None:
                self._written.end()
                self._written = None
        else:
            if isinstance(frame, BotStartedSpeakingFrame):
                await self.stop_ttfb_metrics()
            await self.push_frame(frame, direction)

    def _has_face(self) -> bool:
        return self._stream is not None and not self._stream.is_closed

    def _hear(self, frame: TTSAudioRawFrame) -> None:
        assert self._talker is not None
        samples = np.frombuffer(frame.audio, "<i2")
        if frame.num_channels > 1:
            samples = samples.reshape(-1, frame.num_channels).mean(1).astype(np.int16)
        if self._written is None:
            self._written = self._talker.begin(frame.sample_rate)
            self._turns.append(_Turn(self._written, frame.context_id))
        self._written.write(samples)

    def _interrupt(self) -> Coroutine[Any, Any, None]:
        """Silence at once; what is returned tells the server."""
        assert self._talker is not None
        self._mutes += 1
        self._line.mute(None)
        self._turns.clear()
        self._written = None
        return self._clear(self._talker.interrupt())

    async def _clear(self, answer: Coroutine[Any, Any, float]) -> None:
        until_us = 0.0
        try:
            until_us = await answer
        except ClientError as error:
            await self.push_error(f"Rollcast did not answer an interruption: {error}", error)
        finally:
            self._mutes -= 1
            if not self._mutes:
                self._line.mute(until_us)

    async def _talk(self, talker: Talker) -> None:
        """Feed the server; what ends the stream is told by who shows it."""
        try:
            await talker.run()
        except ClientError:
            return

    async def _show(self, stream: Stream) -> None:
        try:
            async for beat in beats(stream, self._line, Pacer()):
                await self._push(beat)
        except ClientError as error:
            self._turns.clear()
            await self.push_error(f"the Rollcast stream has ended: {error}", error)

    async def _push(self, beat: Beat) -> None:
        """Hand on a frame and the sound beside it, and what a turn's begin and end are told by."""
        sound = beat.sound
        turn = self._turns[0] if self._turns else None
        if turn is not None and not turn.is_heard and sound.any():
            turn.is_heard = True
            await self.push_frame(TTSStartedFrame(context_id=turn.context_id))
        if beat.frame is not None:
            await self.push_frame(_image_frame(beat.frame))
        # between turns nothing: what a transport has fallen behind it catches up on then
        if turn is not None and turn.is_heard and len(sound):
            audio = TTSAudioRawFrame(sound.tobytes(), self._line.rate, 1, turn.context_id)
            await self.push_frame(audio)
        if turn is not None and self._is_over(turn):
            self._turns.popleft()
            await self.push_frame(TTSStoppedFrame(context_id=turn.context_id))

    def _is_over(self, turn: _Turn) -> bool:
        over = turn.utterance.over
        return over.done() and over.result().pts_us <= self._line.position_us

    def _spawn(self, run: Coroutine[Any, Any, None]) -> None:
        task = self.create_task(run)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _leave(self) -> None:
        for task in list(self._tasks):
            await self.cancel_task(task)
        await self._stack.aclose()
        self._stream = self._talker = None
        self._turns.clear()


def _image_frame(picture: Picture) -> OutputImageRawFrame:
    height, width = picture.image.shape[:2]
    return OutputImageRawFrame(picture.image.tobytes(), size=(width, height), format="RGB")
