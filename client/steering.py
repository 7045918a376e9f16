"""The controls of a live stream: what can be asked of it, and the server's answers."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterable
from itertools import count

import numpy as np

from .errors import ClientError, ProtocolError, Rejected
from .messages import (
    Applied,
    AudioClear,
    AudioEnd,
    Control,
    Outgoing,
    Pause,
    PictureChange,
    Prompt,
    Reset,
    Resume,
    SceneChange,
    SeedChange,
    TrackPoint,
    Tracks,
    TracksClear,
)
from .picture_file import picture_text
from .speech import SpeechFeed

LOOK_EVERY_S = 0.02


class Steering(ABC):
    """Verbs that wait for the server's answer.

    `Applied` says from which chunk and media time a control holds; `Rejected` is raised with
    code, field and hint; another ClientError when the stream ended before the answer. Speech is
    int16 mono at `audio_rate` samples per second.
    """

    def __init__(self, answer_timeout_s: float, audio_rate: int) -> None:
        self._answer_timeout_s = answer_timeout_s
        self._event_ids = count(1)
        self._answers: dict[str, asyncio.Future[Applied]] = {}
        self._speech = SpeechFeed(audio_rate)

    @property
    def audio_rate(self) -> int:
        """Samples per second of the speech that is sent."""
        return self._speech.rate

    @property
    @abstractmethod
    def position_us(self) -> float:
        """Media time that is shown now."""

    @abstractmethod
    async def _send(self, message: Outgoing | bytes) -> None:
        """Send when connected; raise when the stream has ended."""

    async def prompt(self, text: str, *, transition_chunks: int = 0) -> Applied:
        """Change the prompt, blending over `transition_chunks` chunks."""
        return await self._control(
            Prompt(event_id=self._id(), text=text, transition_chunks=transition_chunks)
        )

    async def scene(self, name: str) -> Applied:
        """Show another scene or avatar."""
        return await self._control(SceneChange(event_id=self._id(), scene=name))

    async def picture(self, picture: bytes) -> Applied:
        """Show this picture of a face, as `load_picture` reads it, as the avatar.

        From here on `scene("picture")` shows it again.
        """
        return await self._control(
            PictureChange(event_id=self._id(), picture=picture_text(picture))
        )

    async def tracks(self, points: Iterable[TrackPoint]) -> Applied:
        """Pointer events in order, as from `drag` points: press, move, release, pin."""
        return await self._control(Tracks(event_id=self._id(), points=list(points)))

    async def clear_tracks(self, ids: Iterable[int] | None = None) -> Applied:
        """Release these tracks, or all of them."""
        chosen = None if ids is None else list(ids)
        return await self._control(TracksClear(event_id=self._id(), ids=chosen))

    async def feed(self, samples: np.ndarray) -> None:
        """Send speech at once, as from a microphone: int16 [n]. No answer is awaited."""
        for packet in self._speech.packets(samples):
            await self._send(packet)

    async def say(self, samples: np.ndarray, *, ahead_s: float = 1.0) -> Applied:
        """Speak a whole utterance, int16 [n], sent at most `ahead_s` before its time."""
        start_us = self.position_us
        for begin in range(0, len(samples), self._speech.block):
            due_us = start_us + 1e6 * (begin / self._speech.rate - ahead_s)
            while self.position_us < due_us:
                await asyncio.sleep(LOOK_EVERY_S)
            await self.feed(samples[begin : begin + self._speech.block])
        return await self.end_audio()

    async def end_audio(self) -> Applied:
        """The utterance is complete: play what is queued without waiting for more."""
        return await self._control(AudioEnd(event_id=self._id()))

    async def clear_audio(self) -> Applied:
        """Barge in: drop the speech that was not shown yet; `position_us` says where it stopped."""
        return await self._control(AudioClear(event_id=self._id()))

    async def pause(self) -> Applied:
        """Stop media time."""
        return await self._control(Pause(event_id=self._id()))

    async def resume(self) -> Applied:
        """Let media time go on."""
        return await self._control(Resume(event_id=self._id()))

    async def reset(self, seed: int | None = None) -> Applied:
        """Start the content anew, from its seed or this one."""
        return await self._control(Reset(event_id=self._id(), seed=seed))

    async def seed(self, seed: int) -> Applied:
        """Change the seed of what is generated from here on."""
        return await self._control(SeedChange(event_id=self._id(), seed=seed))

    def _id(self) -> str:
        return str(next(self._event_ids))

    async def _control(self, control: Control) -> Applied:
        answer: asyncio.Future[Applied] = asyncio.get_running_loop().create_future()
        self._answers[control.event_id] = answer
        try:
            async with asyncio.timeout(self._answer_timeout_s):
                await self._send(control)
                return await answer
        except TimeoutError as error:
            raise ProtocolError(
                f"no answer to {type(control).__name__} in {self._answer_timeout_s} s"
            ) from error
        finally:
            self._answers.pop(control.event_id, None)

    def _settle(self, event_id: str, result: Applied | Rejected) -> None:
        waiting = self._answers.get(event_id)
        if waiting is None or waiting.done():
            return
        if isinstance(result, Applied):
            waiting.set_result(result)
        else:
            waiting.set_exception(result)

    def _fail_answers(self, reason: ClientError) -> None:
        for waiting in self._answers.values():
            if not waiting.done():
                waiting.set_exception(reason)
